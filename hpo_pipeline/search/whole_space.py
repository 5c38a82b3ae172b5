"""A sampler of Optuna that proposes whole configurations."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_pipeline.experiment.space import Space
from hpo_pipeline.search.distributions import distributions


class WholeSpaceSampler(BaseSampler):
    """Leaves to its kinds what is proposed: `sample_relative`, for all parameters at once."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._distributions = distributions(space)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space."""
        return self._distributions

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return any value: only asked for where a start configuration lacks a parameter."""
        return self._space[param_name].point(0)
