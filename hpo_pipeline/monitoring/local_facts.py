"""Trials of this machine as what metrics need to know of them; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.monitoring.snapshot import ExperimentFacts, TrialFacts
from hpo_pipeline.results.ranking import winner
from hpo_pipeline.results.spending import spending
from hpo_pipeline.results.training_progress import training_progress
from hpo_pipeline.results.trial import Trial

CPU = "CPU"


def trial_facts(experiment: Experiment, trial: Trial) -> TrialFacts:
    """Return what is known of a trial. On this machine, each holds one GPU where there is any."""
    progress = None if trial.state.is_final else training_progress(experiment, trial)
    device = trial.environment.get("device")
    return TrialFacts(
        state=trial.state,
        metrics=trial.metrics,
        seconds=math.fsum(trial.seconds.values()) or None,
        reason=trial.reason,
        gpus=None if device is None else float(device != CPU),
        done=progress.done if progress else None,
    )


def experiment_facts(
    experiment: Experiment,
    trials: Sequence[Trial],
    *,
    name: str,
    state: str,
    seconds: float,
    last_progress: float,
    added: int = 0,
) -> ExperimentFacts:
    """Return what is known of a run: the best trial is the one that `hpo status` calls so.

    Args:
        added: how many trials people have added to the budget.
    """
    best = winner(experiment, trials)
    metrics = dict(best.metrics) if best else {}
    objectives = [(o.name, o.value(metrics)) for o in experiment.objective] if best else []
    metrics |= {name: value for name, value in objectives if math.isfinite(value)}
    return ExperimentFacts(
        name=name,
        state=state,
        objectives=tuple(o.name for o in experiment.objective),
        best=metrics,
        planned=experiment.budget.trials + added,
        seconds=seconds or None,
        last_progress=last_progress,
        cost=spent.spent if (spent := spending(experiment, trials)) else None,
    )
