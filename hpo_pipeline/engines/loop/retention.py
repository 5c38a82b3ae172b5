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
from hpo_pipeline.results.leaders import Leaders
from hpo_pipeline.results.trial import Trial, TrialState


class Retention:
    """Removes what ended trials no longer need, from the folder of all trials.

    A model is looked at when its trial ends, and removed when a better one takes its place. That
    of the baseline stays: it is measured on the test rows beside the winner's.
    """

    def __init__(self, experiment: Experiment, trials: Path) -> None:
        self._trials = trials
        self._leaders = Leaders(experiment, experiment.budget.keep)
        self._members = population(experiment)
        self._models: set[str] = set()
        self._baseline = experiment.problem.baseline
        self._first: str | None = None
        self._checkpoints: set[int] = set()

    def ended(self, trial: Trial, ended: Mapping[int, Trial]) -> None:
        """Remove what is not needed once a trial is among those that have ended, by number."""
        self._leaders.add(trial)
        self._models.add(trial.name)
        kept = {leader.name for leader in self._leaders.first()}
        if trial.assignments == self._baseline and trial.reused_from is None:
            self._first = self._first or trial.name
        kept |= {self._first} if self._first else set()
        shutil.rmtree(self._trials / trial.name / RESUME_FOLDER, ignore_errors=True)
        for name in self._models - kept:
            shutil.rmtree(self._trials / name / MODEL_FOLDER, ignore_errors=True)
        self._models &= kept
        if self._members is None:
            return
        self._checkpoints.add(trial.number)
        for number in sorted(self._checkpoints):
            other = ended[number]
            if other.state != TrialState.SUCCEEDED or self._members.is_done(number, ended):
                shutil.rmtree(self._trials / other.name / CHECKPOINT_FOLDER, ignore_errors=True)
                self._checkpoints.discard(number)
