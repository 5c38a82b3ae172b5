"""What the stages of a run hand to each other: small frozen values and their JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hpo_pipeline.errors import BackendError
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.experiment.verdict import Interval
from hpo_pipeline.results.bootstrap import Gain
from hpo_pipeline.results.files import PlainName, validated_or_none
from hpo_pipeline.results.trial import Trial, TrialState

T = TypeVar("T")


@dataclass(frozen=True)
class Confirmed:
    """A configuration that was trained again with other seeds.

    `trial` is the name of the search's trial, whose own result does not count here. `mean` and
    `std` (the sample standard deviation) are those of the runs with a result, which `seeds`
    lists; `failed` says by seed why others have none. `median` is the name of the run in the
    middle of them, whose model represents the configuration.
    """

    trial: PlainName
    assignments: dict[str, Value]
    seeds: tuple[int, ...]
    mean: dict[str, float]
    std: dict[str, float]
    failed: dict[str, str]
    median: PlainName | None

    @property
    def metrics(self) -> dict[str, float]:
        """What the configuration is judged by: the means."""
        return self.mean

    @property
    def intervals(self) -> dict[str, Interval]:
        """None: over several seeds, a constraint is judged by the mean."""
        return {}


@dataclass(frozen=True)
class Evaluation:
    """A finished model on the held-out test rows, measured alone.

    `confusion` counts rows by their label (outer) and by what the model says (inner), in the
    order of `labels`; `intervals` are the 95 % intervals of metrics that were sampled, and
    `environment` says what they were measured on.
    """

    metrics: dict[str, float]
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    intervals: dict[str, Interval] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Selected:
    """The winning configuration, and the run whose model represents it.

    `trial` is a trial of the search; `run` is the same, or a run with another seed, which is in
    the folder of the confirmation; `seed` is what the run was trained with.
    """

    trial: PlainName
    run: PlainName
    seed: int

    @property
    def is_rerun(self) -> bool:
        """Whether the model is that of another run than the search's."""
        return self.run != self.trial


@dataclass(frozen=True)
class SearchFacts:
    """What only the process that followed the search knows of it.

    `counts` are the trials by state; `provenance` may have source_revision, image_digest, run;
    `keep` names the runs whose models stay once the winner's is safe; `baseline` the trial that
    the winner is compared with.
    """

    counts: dict[str, int]
    confirmed: Confirmed | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    keep: tuple[PlainName, ...] = ()
    baseline: PlainName | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class GateResult:
    """What the gate says of the winner, and the measurements behind it.

    `champion` is the version that it was compared with, None where there was none; `model` says
    where the winner's model is kept; `image` is what the trials ran on, with its digest, where
    that is known.
    """

    evaluation: Evaluation
    fingerprint: str
    promote: bool = False
    reason: str = ""
    champion: int | None = None
    model: str = ""
    image: str = ""
    gain: Gain | None = None
    gain_note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class RegistrationResult:
    """The version that a winner became."""

    model: str
    version: int
    is_champion: bool
    reason: str
    uri: str

    @property
    def title(self) -> str:
        """The version in words."""
        return f"{self.model} version {self.version}"


@dataclass(frozen=True)
class Winner:
    """The best configuration, its validation metrics, and those on the held-out test rows.

    `name` is that of its trial in the search; `run` that of the run that its model and its
    metrics are of, where this is another one; the intervals are those of sampled metrics.
    """

    name: PlainName
    assignments: dict[str, Value]
    metrics: dict[str, float]
    test: dict[str, float] = field(default_factory=dict)
    model: str | None = None
    registered: str | None = None
    note: str | None = None
    run: PlainName | None = None
    intervals: dict[str, Interval] = field(default_factory=dict)
    test_intervals: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult:
    """A search as it is now: `state` is running, interrupted, succeeded or failed.

    `baseline` is the name of the baseline's trial, `baseline_notes` what is said of it: the
    defaults that the space does not have, or why there is no baseline. `gain` is that of the winner
    over it on the test rows; where there is none, `gain_note` may say why. `added_trials` is how
    many trials people have added to the budget.
    """

    experiment: str
    state: str
    seconds: float
    trials: tuple[Trial, ...]
    winner: Winner | None = None
    reason: str | None = None
    confirmed: tuple[Confirmed, ...] = ()
    baseline: PlainName | None = None
    baseline_notes: tuple[str, ...] = ()
    gain: Gain | None = None
    gain_note: str = ""
    added_trials: int = 0

    def counts(self) -> dict[str, int]:
        """Return how many trials are in each state; states without a trial are left out."""
        states = [trial.state.value for trial in self.trials]
        return {
            state.value: states.count(state.value) for state in TrialState if state.value in states
        }

    def summary(self) -> dict[str, Any]:
        """Return what `hpo status --json` prints."""
        return {
            "experiment": self.experiment,
            "state": self.state,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "trials": self.counts(),
            "baseline": self.baseline,
            "baseline_notes": list(self.baseline_notes),
            "gain": dataclasses.asdict(self.gain) if self.gain else None,
            "gain_note": self.gain_note,
            "confirmed": [dataclasses.asdict(found) for found in self.confirmed],
            "winner": dataclasses.asdict(self.winner) if self.winner else None,
        }


def answer_as(kind: type[T], data: object, job: str) -> T:
    """Return the value that a job answered with.

    Raises:
        BackendError: the answer is something else.
    """
    found = validated_or_none(kind, data)
    if found is None:
        raise BackendError(
            f"job {job}: its answer is not what this version expects; use the same version of "
            f"hpo-pipeline in the trial image and here"
        )
    return found
