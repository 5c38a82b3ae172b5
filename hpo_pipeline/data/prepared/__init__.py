"""A prepared dataset: encoded, written as Arrow, and what describes it."""
