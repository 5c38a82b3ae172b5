"""One run of an experiment: its stages in their order, on any engine; and the Python API."""
