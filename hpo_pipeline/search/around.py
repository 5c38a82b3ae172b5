"""A sampler around another one, which may change what that one proposes."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_pipeline.experiment.space import Space
from hpo_pipeline.search.whole_space import WholeSpaceSampler


class AroundSampler(WholeSpaceSampler):
    """Leaves to the inner sampler what is noted before and after a trial."""

    def __init__(self, inner: BaseSampler, space: Space) -> None:
        super().__init__(space)
        self.inner = inner

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Pass it on."""
        self.inner.before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass it on."""
        self.inner.after_trial(study, trial, state, values)


def innermost(sampler: BaseSampler) -> BaseSampler:
    """Return the sampler of Optuna within those that are around it."""
    while isinstance(sampler, AroundSampler):
        sampler = sampler.inner
    return sampler
