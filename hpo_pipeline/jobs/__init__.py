"""Work beside the trials, in a process or a pod of its own: prepare, train, promote, remove, check.

`python -m hpo_pipeline.jobs KIND …` runs one. Kinds have names of their own, so that a
coordinator and an image of different age still understand each other.
"""

JOBS = {
    "prepare": "hpo_pipeline.jobs.prepare",
    "train": "hpo_pipeline.jobs.train",
    "promote": "hpo_pipeline.jobs.promote",
    "remove": "hpo_pipeline.jobs.remove",
    "defaults": "hpo_pipeline.jobs.baseline",
}
"""The module of each kind of job; its `main` takes the arguments and returns the exit code."""
