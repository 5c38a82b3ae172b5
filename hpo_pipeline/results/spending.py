"""What a search has cost, and what stopping trials has saved, by the section `prices`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial, TrialState


@dataclass(frozen=True)
class Spending:
    """Amounts in the currency of the prices.

    Attributes:
        spent: of all trials.
        saved: what stopped trials would have cost in addition, had they run to their end.
        unknown: trials of whose device no price, or nothing, is known; they are not in the sums.
    """

    spent: float
    saved: float
    unknown: int = 0


def spending(experiment: Experiment, trials: Sequence[Trial]) -> Spending | None:
    """Return what the trials have cost; None where the experiment has no prices of hours."""
    prices = experiment.prices
    if prices is None or (prices.cpu_hour is None and prices.gpu_hour is None):
        return None
    own = [t for t in trials if t.reused_from is None and t.seconds]
    rates = {t.name: _rate(experiment, t) for t in own}
    spent = sum(sum(t.seconds.values()) * (rates[t.name] or 0.0) for t in own) / 3600
    lengths = _Lengths.of(experiment, trials)
    saved = sum(lengths.saved(t) * (rates[t.name] or 0.0) for t in own) / 3600
    return Spending(spent, saved, sum(rate is None for rate in rates.values()))


def seconds_used(trials: Sequence[Trial]) -> float:
    """Return the wall time of all trials together."""
    return sum(sum(trial.seconds.values()) for trial in trials if trial.reused_from is None)


def seconds_saved(experiment: Experiment, trials: Sequence[Trial]) -> float:
    """Return what stopped trials would have taken in addition, each at its own pace.

    Their end is that of the trial with the most evaluations among those that ran to theirs.
    """
    lengths = _Lengths.of(experiment, trials)
    return sum(map(lengths.saved, trials))


@dataclass(frozen=True)
class _Lengths:
    """How long a whole trial is.

    Attributes:
        evaluations: of one, those after trainings on shares of the rows included; 0 if unknown.
        shares: of the rows, on each of which it trains before it does on all.
    """

    evaluations: int
    shares: Sequence[float]

    @classmethod
    def of(cls, experiment: Experiment, trials: Sequence[Trial]) -> _Lengths:
        whole = (len(t.curve) for t in trials if t.state is TrialState.SUCCEEDED)
        return cls(max(whole, default=0), experiment.chosen_stopping.row_shares)

    def saved(self, trial: Trial) -> float:
        """Return the seconds that a trial did not take because it was stopped."""
        if not self.evaluations or trial.state is not TrialState.STOPPED or not trial.curve:
            return 0.0
        done, whole = self._trainings(len(trial.curve)), self._trainings(self.evaluations)
        return sum(trial.seconds.values()) * max(0.0, whole - done) / done

    def _trainings(self, evaluations: int) -> float:
        """Return how many trainings on all rows these evaluations took."""
        on_all = self.evaluations - len(self.shares)
        rest = max(0, evaluations - len(self.shares))
        return sum(self.shares[:evaluations]) + rest / max(1, on_all)


def _rate(experiment: Experiment, trial: Trial) -> float | None:
    """Return the price of an hour of a trial."""
    prices, device = experiment.prices, trial.environment.get("device")
    if prices is None or device is None:
        return None
    if device != "CPU":
        gpus = max(1, experiment.cluster.gpus)
        return None if prices.gpu_hour is None else prices.gpu_hour * gpus
    threads = trial.environment.get("threads", "")
    if prices.cpu_hour is None or not threads.isdigit():
        return None
    return prices.cpu_hour * int(threads)
