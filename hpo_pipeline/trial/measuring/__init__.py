"""How fast, large and dear a finished model is: timed in a quiet slot, with intervals."""
