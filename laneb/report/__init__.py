"""What people read of a lane: the answer in a sentence, the report, the curves, where it all comes from."""
