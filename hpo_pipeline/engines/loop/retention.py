"""What of ended trials stays on disk: the best models, and checkpoints that trials may resume from.

Results and logs always stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from hpo_pipeline.experiment.population import population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.files import CHECKPOINT_FOLDER, MODEL_FOLDER, RESUME_FOLDER
from hpo_pipeline.results.ranking import rank
from hpo_pipeline.results.trial import Trial, TrialState


def remove_unneeded(experiment: Experiment, trials: Path, ended: Mapping[int, Trial]) -> None:
    """Remove models and checkpoints of ended trials, by number, from the folder of all trials."""
    best = rank(experiment, ended.values())[: experiment.budget.keep]
    kept = {trial.name for trial in best}
    for trial in ended.values():
        shutil.rmtree(trials / trial.name / RESUME_FOLDER, ignore_errors=True)
        if trial.name not in kept:
            shutil.rmtree(trials / trial.name / MODEL_FOLDER, ignore_errors=True)
    members = population(experiment)
    if members is None:
        return
    for number, trial in ended.items():
        if trial.state != TrialState.SUCCEEDED or members.is_done(number, ended):
            shutil.rmtree(trials / trial.name / CHECKPOINT_FOLDER, ignore_errors=True)
