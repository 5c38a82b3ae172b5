"""The whole ranking of a run, kept up to date: what a trial is judged by is computed once.

For who looks at the same run again and again. leaders.py keeps the first few only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.ranking import RankKey, is_usable, order, rank_key
from hpo_pipeline.results.trial import Trial


@dataclass(frozen=True)
class Standing:
    """The ended trials as every leaderboard lists them, and the best that meets the constraints.

    Attributes:
        keys: of the usable trials, by name: what they are ranked by.
    """

    ranked: tuple[Trial, ...] = ()
    others: tuple[Trial, ...] = ()
    winner: Trial | None = None
    keys: dict[str, RankKey] | None = None


class Standings:
    """Ranks the trials of an experiment, of which most are the same objects as the last time."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._known: dict[str, tuple[Trial, RankKey | None]] = {}
        self._last = Standing()

    def of(self, trials: Sequence[Trial]) -> Standing:
        """Return the ranking of the ended ones among these trials."""
        before, found, is_new = self._known, {}, False
        for trial in trials:
            known = before.get(trial.name)
            if known is None or known[0] is not trial:
                if not trial.state.is_final:
                    continue
                is_new = True
                usable = is_usable(self._experiment, trial)
                known = trial, rank_key(self._experiment, trial) if usable else None
            found[trial.name] = known
        if is_new or len(found) != len(before):
            self._known, self._last = found, self._ranked(found)
        return self._last

    def _ranked(self, found: dict[str, tuple[Trial, RankKey | None]]) -> Standing:
        usable = [(trial, key) for trial, key in found.values() if key is not None]
        keys = [key for _, key in usable]
        places = order(self._experiment, keys)
        winner = usable[places[0]][0] if places and keys[places[0]].violation <= 0 else None
        return Standing(
            ranked=tuple(usable[place][0] for place in places),
            others=tuple(trial for trial, key in found.values() if key is None),
            winner=winner,
            keys={trial.name: key for trial, key in usable},
        )
