"""One trial: the same command, started by every engine. The door to torch and transformers."""
