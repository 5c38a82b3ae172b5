"""A Sobol sequence of which only the points count that keep the rules."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial
from scipy.stats.qmc import Sobol

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.rules.region import Region, region_of
from hpo_pipeline.search.whole_space import WholeSpaceSampler

_BLOCK, _MAX_BLOCKS = 2**13, 32


class RuledQmcSampler(WholeSpaceSampler):
    """The n-th trial gets the n-th point that keeps the rules; all parameters are dimensions.

    Where so few of the first 2**18 points do that there is none for a trial, it proposes nothing,
    and is drawn as in random search.
    """

    def __init__(self, problem: Problem, *, seed: int) -> None:
        super().__init__(problem.space)
        self._region = region_of(problem.space, problem.rules)
        # With the region, which lives as long as the process: a sampler is built for each trial.
        key = ("sobol", seed)
        if key not in self._region.memory:
            self._region.memory[key] = _Sequence(len(problem.space), seed)
        self._sequence: _Sequence = self._region.memory[key]

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point of a trial's number."""
        return self._sequence.point(self._region, trial.number)

    def sample_independent(self, *arguments: Any, **others: Any) -> Any:
        """Refuse: all values that are asked for come from `sample_relative`."""
        raise AssertionError("unreachable: RuleKeeping asks for whole configurations")


class _Sequence:
    """The points found so far, and the rest of the sequence."""

    def __init__(self, dimensions: int, seed: int) -> None:
        self._engine = Sobol(dimensions, scramble=True, seed=seed)
        self._rows: list[dict[str, Any]] = []
        self._found = self._blocks = 0

    def point(self, region: Region, number: int) -> dict[str, Any]:
        """Return the point of a number, or nothing where the sequence has none within reach."""
        while self._found <= number and self._blocks < _MAX_BLOCKS:
            shares = self._engine.random(_BLOCK)
            places = {n: region.axes[n].places(shares[:, i]) for i, n in enumerate(region.space)}
            mask = region.mask(places)
            self._rows.append({name: column[mask] for name, column in places.items()})
            self._found += int(mask.sum())
            self._blocks += 1
        for rows in self._rows:
            size = len(next(iter(rows.values())))
            if number < size:
                return region.assignments(rows, number)
            number -= size
        return {}
