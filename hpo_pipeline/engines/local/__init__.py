"""This machine as an engine: a search loop over trial processes."""
