"""The engines: each runs the trials of an experiment somewhere and follows them to the end."""
