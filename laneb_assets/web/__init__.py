"""`laneb ui`: Dagster's web server behind a guard, its daemon and its code servers, and who ends with whom."""
