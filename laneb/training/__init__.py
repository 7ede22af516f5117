"""One training run: its spec, its directory, its loop. Import each name from its module; only the loop needs torch."""
