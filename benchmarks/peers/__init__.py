"""The same trials through Ray Tune, Trainer.hyperparameter_search and `hpo run`: see compare.py."""
