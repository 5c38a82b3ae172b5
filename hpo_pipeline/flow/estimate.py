"""How long a run will take, from short trials of the middle of the space, run as the run would."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.engines import RunContext, open_engine
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.errors import ExperimentError, TrialError
from hpo_pipeline.experiment.evaluations import evaluations
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import (
    ChoiceParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Value,
)
from hpo_pipeline.experiment.stopping import PlannedSearch
from hpo_pipeline.reports.terminal.silence import Silence
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.trial.measuring.purpose import Purpose
from hpo_pipeline.trial.measuring.sampling import WARM_UP_SECONDS

STEPS = 40
"""Training steps of a short trial; the first ones are slower than the others."""
REPORT_S = 5.0
_BATCH, _EPOCHS = "per_device_train_batch_size", "num_train_epochs"
_DEFAULTS = {_BATCH: 8, _EPOCHS: 3}
_OTHER_TIMES = ("max_steps", "gradient_accumulation_steps")


@dataclass(frozen=True)
class Estimate:
    """What was measured, and what follows.

    Attributes:
        measured_s: how long the measuring took.
        trial_s: seconds of a whole trial by phase.
        run_s: of the run, without preparing the data.
        final_s: of these, to measure the winner and the baseline on the test rows.
        rounds: how often trials start, side by side.
        share_left: of the training of all trials, what is expected when some are stopped early.
        may_be_shorter: why the run may end earlier, if it may.
    """

    measured_s: float
    trial_s: dict[str, float]
    run_s: float
    trials: int
    parallel: int
    rounds: int
    may_be_shorter: str | None = None
    final_s: float = 0.0
    share_left: float = 1.0

    @property
    def one_trial_s(self) -> float:
        """Seconds of a whole trial."""
        return sum(self.trial_s.values())

    def cost(self, an_hour: float) -> float:
        """Return what the run costs, given the price of this machine."""
        return self.run_s / 3600 * an_hour


def estimate(experiment: Experiment) -> Estimate:
    """Measure short trials, as many as run side by side, and compute the time of the run.

    The data are prepared first, where they are not yet; the run finds them.

    Raises:
        ExperimentError: the trainings of this kind of task cannot be cut short.
        TrialError: no short trial succeeded.
    """
    _check(experiment)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hpo-estimate-") as folder:
        trials, meta = _measured(experiment, Path(folder))
    found = [trial for trial in trials if trial.state is TrialState.SUCCEEDED]
    if not found:
        reason = next((trial.reason for trial in trials if trial.reason), "they were stopped")
        raise TrialError(f"no short trial succeeded: {reason}; try `hpo check --smoke`")
    middle = middle_of(experiment, 1)[0]
    phases = [whole_trial(experiment, trial, middle, meta) for trial in found]
    whole = {name: sum(p[name] for p in phases) / len(phases) for name in phases[0]}
    return _of_run(experiment, whole, meta, measured_s=time.monotonic() - started)


def middle_of(experiment: Experiment, count: int) -> list[dict[str, Value]]:
    """Return configurations amid the space, which differ in its first number only."""
    space = experiment.space
    varied = next((n for n in space if isinstance(space[n], FloatParameter)), None)
    found = []
    for i in range(count):
        chosen = {name: _between(space[name], 0.5) for name in space}
        if varied is not None and count > 1:
            chosen[varied] = _between(space[varied], (i + 1) / (count + 1))
        found.append(space.active(chosen))
    return found


def whole_trial(
    experiment: Experiment, short: Trial, middle: dict[str, Value], meta: DatasetMeta
) -> dict[str, float]:
    """Return the seconds of a whole trial by phase, given those of a short one."""
    fields: dict[str, Any] = {**_DEFAULTS, **experiment.task.training, **middle}
    cut = {**fields, **short.assignments}
    a_row = short.seconds.get("train", 0.0) / max(1.0, short.training_steps * float(cut[_BATCH]))
    rows, epochs = meta.rows["train"], float(fields[_EPOCHS])
    shares = experiment.chosen_stopping.row_shares  # a whole trial trains on each of them before
    return {
        **short.seconds,
        "train": a_row * rows * epochs * (1 + sum(shares)),
        "evaluate": short.seconds.get("evaluate", 0.0)
        / max(1, len(short.curve))
        * (_evaluations(fields, meta) + len(shares)),
    }


def _evaluations(fields: Mapping[str, Any], meta: DatasetMeta) -> int:
    """Return how often a training with these fields of TrainingArguments evaluates."""
    epochs = float(fields[_EPOCHS])
    steps = meta.rows["train"] * epochs / float(fields[_BATCH])
    return evaluations(fields, epochs, steps=steps) or 1


def _evaluations_of(experiment: Experiment, meta: DatasetMeta) -> int:
    """Return how often a trial amid the space evaluates."""
    middle = middle_of(experiment, 1)[0]
    return _evaluations({**_DEFAULTS, **experiment.task.training, **middle}, meta)


def _check(experiment: Experiment) -> None:
    faults = []
    if getattr(experiment.task.settings, "script", None) is not None:
        faults.append("task.script: a script trains as long as it likes; time one trial by itself")
    known = {**experiment.task.training, **dict.fromkeys(experiment.space)}
    faults += [
        f"{name}: the time of such trainings is not computed"
        for name in _OTHER_TIMES
        if name in known
    ]
    if experiment.search.population_size is not None:
        faults.append("search: members of a population train in intervals; time a short run")
    if faults:
        raise ExperimentError("hpo estimate", faults)


def _measured(experiment: Experiment, folder: Path) -> tuple[Sequence[Trial], DatasetMeta]:
    """Run short trials, and return them with what is known of the data."""
    count = max(2, experiment.budget.parallel)
    content = experiment.model_dump(mode="json", by_alias=True)
    content["task"]["training"] = {**content["task"]["training"], "max_steps": STEPS}
    content |= {"confirm": None, "register": None, "stopping": {"algorithm": "none"}}
    content["search"] = {"algorithm": "random", "start": middle_of(experiment, count)}
    content["budget"] = {"trials": count, "parallel": experiment.budget.parallel}
    short = Experiment.model_validate(content, strict=False)
    run = RunFolder(folder / "run")
    context = RunContext(short, run, Silence())
    with (
        run.locked(),
        Interruption().installed() as interruption,
        open_engine("local", context) as engine,
    ):
        run.adopt(short)
        searched = engine.search([], interruption)
        return searched.trials, DatasetMeta.read(Path(str(run.state().dataset)))


def _of_run(
    experiment: Experiment, whole: dict[str, float], meta: DatasetMeta, *, measured_s: float
) -> Estimate:
    budget, confirm = experiment.budget, experiment.confirm
    one = sum(whole.values())
    left = _share_left(experiment, meta)
    stopped = one - (1 - left) * (whole.get("train", 0.0) + whole.get("evaluate", 0.0))
    rounds = math.ceil(budget.trials / budget.parallel)
    again = math.ceil(confirm.top * confirm.seeds / budget.parallel) if confirm else 0
    final = final_seconds(experiment, whole, meta)
    seconds = rounds * stopped + again * one + final + REPORT_S
    shorter = None
    if budget.minutes is not None and seconds > budget.minutes * 60:
        shorter = f"the search ends after the {budget.minutes:g} minutes of the budget"
        seconds = min(seconds, budget.minutes * 60 + again * one + final + REPORT_S)
    return Estimate(
        measured_s, whole, seconds, budget.trials, budget.parallel, rounds, shorter, final, left
    )


def _share_left(experiment: Experiment, meta: DatasetMeta) -> float:
    """Return the share of the training that early stopping is expected to leave."""
    budget = experiment.budget
    search = PlannedSearch(_evaluations_of(experiment, meta), budget.trials, budget.parallel)
    return experiment.chosen_stopping.share_left(search)


def final_seconds(experiment: Experiment, whole: dict[str, float], meta: DatasetMeta) -> float:
    """Return the seconds after the search: the winner and the baseline, one after the other.

    Each is loaded and answers the test rows; the winner is timed in fresh processes, and so is the
    baseline where its times are read. A champion that is there already, and how long it takes, is
    not known.

    Args:
        whole: seconds of a whole trial by phase.
    """
    share = meta.rows.get("test", 0) / max(1, meta.rows.get("validation", 1))
    one = whole.get("load", 0.0) + whole["evaluate"] / _evaluations_of(experiment, meta) * share
    ends = [one + _timed(experiment, whole, is_final=True)]
    if experiment.found_baseline().values is not None:
        ends.append(one + _timed(experiment, whole, is_final=False))
    return sum(ends)


def _timed(experiment: Experiment, whole: Mapping[str, float], *, is_final: bool) -> float:
    """Return the seconds of timing a model on the test rows: as a trial does, or longer."""
    measure = whole.get("measure", 0.0)
    plan = Purpose(experiment.reads, is_final=is_final).processes
    return measure if plan is None else max(measure, plan.least * (plan.each + WARM_UP_SECONDS))


def _between(parameter: Parameter, share: float) -> Value:
    """Return the value of a parameter at a share of its range."""
    if isinstance(parameter, ChoiceParameter):
        return parameter.values[round((len(parameter.values) - 1) * share)]
    low, high = parameter.low, parameter.high
    if parameter.log:
        found = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        return round(found) if isinstance(parameter, IntParameter) else found
    count = parameter.count()
    if count is not None:
        return parameter.point(round((count - 1) * share))
    return low + share * (high - low)
