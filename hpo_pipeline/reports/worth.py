"""What tuning gained over the baseline, at what cost, and whether that is more than noise: a line.

The gain is that of the objective on the held-out rows, where the winner and the baseline were
measured; where `confirm` trained both with the same seeds, that comparison is said too.
"""

from __future__ import annotations

import math

from hpo_pipeline.experiment.objective import Objective
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports import formatting
from hpo_pipeline.results.bootstrap import CONFIDENCE, Gain
from hpo_pipeline.results.confirmation import difference
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.spending import spending

INTERVAL = f"{CONFIDENCE:.0%} interval".replace("%", " %")


def worth(experiment: Experiment, result: SearchResult) -> str | None:
    """Return the first line of a report: None where nothing is to be said yet."""
    if result.winner is None:
        return None
    if result.gain is None:
        note = result.gain_note or "; ".join(result.baseline_notes)
        if not note or experiment.baseline == "none":
            return None
        return f"Was tuning worth it? Not known: {note}." if not _is_own(result) else f"{note}."
    objective = experiment.objective[0]
    said = [_gained(experiment, objective, result.gain), cost(experiment, result)]
    seeds = _over_seeds(objective, result)
    return f"{', '.join(part for part in said if part)}." + (f" {seeds}." if seeds else "")


def cost(experiment: Experiment, result: SearchResult) -> str:
    """Return what the search took beside the baseline: time, and money where there are prices."""
    others = [t for t in result.trials if t.name != result.baseline and t.reused_from is None]
    seconds = math.fsum(sum(trial.seconds.values()) for trial in others)
    count = f"{len(others)} more trial{'s' * (len(others) != 1)}"
    words = f"at the cost of {count}, {formatting.duration(seconds)} of training and measuring"
    money = spending(experiment, others)
    if money is None or experiment.prices is None:
        return words
    amount = experiment.prices.amount
    words += f", {amount(money.spent)}"
    words += f" (stopping saved about {amount(money.saved)})" if money.saved else ""
    return words + (f", without {money.unknown} trials of unknown price" * bool(money.unknown))


def _is_own(result: SearchResult) -> bool:
    return result.baseline is not None and result.baseline == (result.winner and result.winner.name)


def _gained(experiment: Experiment, objective: Objective, gain: Gain) -> str:
    better = "gained" if gain.gain >= 0 else "lost"
    against = f"{formatting.number(gain.value)} against {formatting.number(gain.other)}"
    rows = experiment.task.gate_rows.removeprefix("held-out ")
    where = f"on {gain.rows:,} {rows}" if gain.rows else f"on the {rows}"
    goal = " (less is better)" if objective.goal == "minimize" else ""
    change = f"{abs(gain.gain):.3g} {objective.name}{goal}"
    if not math.isfinite(gain.gain):
        return f"Tuning cannot be compared with the baseline {where}: {against} {objective.name}"
    if gain.low is None or gain.high is None:
        return f"Tuning {better} {change} over the baseline {where} ({against}; {gain.reason})"
    ends = f"{INTERVAL} {_signed(gain.low)} to {_signed(gain.high)}"
    if gain.is_within_noise:
        return (
            f"Tuning {better} {change} over the baseline {where}, within noise ({against}; {ends})"
        )
    return f"Tuning {better} {change} over the baseline {where} ({against}; {ends})"


def _over_seeds(objective: Objective, result: SearchResult) -> str:
    """Compare the means over the seeds that `confirm` trained both with."""
    known = {found.trial: found for found in result.confirmed}
    winner = known.get(result.winner.name) if result.winner else None
    baseline = known.get(result.baseline or "")
    if winner is None or baseline is None:
        return ""
    found = difference(objective, winner, baseline)
    if found is None:
        return ""
    mean, low, high = found
    noise = ", within noise" if low <= 0 <= high else ""
    count = min(len(winner.seeds), len(baseline.seeds))
    return (
        f"Over {count} seeds each on the validation rows: {_signed(mean)} {objective.name}{noise} "
        f"({INTERVAL} {_signed(low)} to {_signed(high)})"
    )


def _signed(value: float) -> str:
    return f"{value:+.3g}"
