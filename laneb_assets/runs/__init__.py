"""What a Dagster run of the lane does beside its assets: it shows that it lives, and waits for its turn in a pool."""
