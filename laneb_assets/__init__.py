"""Lane B as Dagster assets: thin functions over `laneb`, wired in `laneb_assets.definitions`."""
