"""The training of a trial: its Trainer, in what precision and order it works, who follows it."""
