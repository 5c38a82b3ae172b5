"""Trials whose training is the user's own code: a Trainer, or a script."""
