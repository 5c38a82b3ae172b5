"""Mutated inputs of every kind that people hand to the program; `make fuzz`."""
