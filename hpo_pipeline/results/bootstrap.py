"""Whether one model is better than another on the same test rows: a paired bootstrap.

The rows are drawn with replacement, the same for both models, and the objective of each sample is
computed anew; the spread of its differences is that of the gain (Efron & Tibshirani, An
Introduction to the Bootstrap, 1993, chapters 13 and 16; for pairs of systems Koehn, Statistical
Significance Tests for Machine Translation Evaluation, EMNLP 2004). Intervals are those of the
percentiles. What was measured of the whole model, as its latency, is the same in all samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_pipeline.experiment.metrics import PRACTICAL_METRICS, SCORE
from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.register import MIN_TEST_ROWS
from hpo_pipeline.tasks.row_sums import RowSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLES = 4_000
CONFIDENCE = 0.95
ALIKE = 1e-12
"""Differences of the objective below this are rounding."""
_AT_ONCE = 4_000_000
"""Entries of the counts that are in memory at a time."""


@dataclass(frozen=True)
class Measured:
    """A model on the test rows: its metrics, and what each row adds to them, if that is known."""

    metrics: Mapping[str, float]
    rows: RowSums | None = None


@dataclass(frozen=True)
class Gain:
    """What one model gains over another in the objective: more is better, whatever the goal.

    Attributes:
        value, other: the objective of the two on the rows.
        low, high: the 95 % interval of the gain; None where there is none, and `reason` says why.
        rows: how many rows both were measured on; 0 where that is not known.
    """

    value: float
    other: float
    gain: float
    low: float | None = None
    high: float | None = None
    rows: int = 0
    reason: str = ""

    @property
    def is_within_noise(self) -> bool | None:
        """Whether the interval has both signs; None where there is none."""
        if self.low is None or self.high is None:
            return None
        return self.low <= 0 <= self.high


def gain_of(objective: Objective, ours: Measured, theirs: Measured) -> Gain:
    """Return what a model gains over another on the same rows, with its interval."""
    value, other = objective.value(ours.metrics), objective.value(theirs.metrics)
    rows = len(ours.rows) if ours.rows is not None else 0
    plain = Gain(value, other, objective.sign() * (value - other), rows=rows)
    found = gains(objective, ours, theirs)
    if isinstance(found, str):
        return Gain(plain.value, plain.other, plain.gain, rows=rows, reason=found)
    import numpy as np

    tail = (1 - CONFIDENCE) / 2
    low, high = (float(end) for end in np.quantile(found, (tail, 1 - tail)))
    return Gain(plain.value, plain.other, plain.gain, low, high, rows)


def gains(
    objective: Objective, ours: Measured, theirs: Measured, *, seed: int = 0
) -> NDArray[Any] | str:
    """Return the gain in each sample of the rows, or why it cannot be computed."""
    one, other = ours.rows, theirs.rows
    if one is None or other is None:
        return "the metrics of this task cannot be computed again from single rows"
    if one.form != other.form or len(one) != len(other):
        return "the two models were not measured on the same rows"
    if len(one) < MIN_TEST_ROWS:
        return f"an interval needs {MIN_TEST_ROWS} test rows, and there are {len(one)}"
    import numpy as np

    known = {*one.metrics(np.ones((1, len(one))))}
    lacking = sorted(objective.reads - known - {*PRACTICAL_METRICS, SCORE})
    if lacking:
        return f"{', '.join(lacking)} cannot be computed again from single rows"
    if not objective.reads & known:
        return f"{objective.name} is not of the rows"
    rng = np.random.default_rng(seed)
    parts = []
    at_once = max(1, min(SAMPLES, _AT_ONCE // len(one)))
    for start in range(0, SAMPLES, at_once):
        counts = _counts(rng, min(at_once, SAMPLES - start), len(one))
        mine, yours = (_values(objective, each, counts) for each in (ours, theirs))
        parts.append(objective.sign() * (mine - yours))
    every = np.concatenate(parts)
    found: NDArray[Any] = every[np.isfinite(every)]
    if len(found) < SAMPLES / 2:
        return f"{objective.name} has no value in most samples of the rows"
    if objective.reads & set(PRACTICAL_METRICS) and np.ptp(found) < ALIKE:
        # A formula whose other metrics were measured once: that has noise of its own.
        return "no row tells the two apart, and what else is in the formula was measured once"
    return found


def share_above(found: NDArray[Any], least: float) -> float:
    """Return the share of samples in which the gain is at least so much, and more than nothing."""
    return float(((found >= least) & (found > 0)).mean())


def _counts(rng: Any, samples: int, rows: int) -> NDArray[Any]:
    """Return how often each row is drawn in each sample (samples x rows)."""
    import numpy as np

    drawn = rng.integers(0, rows, (samples, rows))
    drawn += np.arange(samples)[:, np.newaxis] * rows
    counted = np.bincount(drawn.ravel(), minlength=samples * rows)
    return counted.reshape(samples, rows)


def _values(objective: Objective, model: Measured, counts: NDArray[Any]) -> NDArray[Any]:
    """Return the objective of a model in each sample."""
    import numpy as np

    assert model.rows is not None
    drawn = model.rows.metrics(counts)
    if objective.metric is not None:
        return np.asarray(drawn[objective.metric])
    read = [name for name in objective.reads if name in drawn]
    fixed = {name: value for name, value in model.metrics.items() if name not in drawn}
    values = (
        objective.value({**fixed, **dict(zip(read, map(float, row), strict=True))})
        for row in zip(*(drawn[name] for name in read), strict=True)
    )
    return np.fromiter(values, float, len(counts))
