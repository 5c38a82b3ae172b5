"""The command `hpo`: its arguments, and what it prints."""
