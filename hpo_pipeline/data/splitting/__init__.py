"""Which rows train, validate and test: different ones, always the same."""
