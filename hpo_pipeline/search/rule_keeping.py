"""Proposals that keep the rules between parameters, whatever sampler makes them.

A sampler is asked again until its proposal keeps the rules, at most ATTEMPTS times; then the
configuration nearest to its first proposal is taken. What it leaves open, and all of a proposal
of random search, is drawn among what keeps the rules. Samplers learn from what the study holds,
which are the values that were really used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_pipeline.errors import BackendError
from hpo_pipeline.experiment.rules.drawing import draw
from hpo_pipeline.experiment.rules.nearest import nearest
from hpo_pipeline.experiment.rules.region import Region
from hpo_pipeline.experiment.space import Value
from hpo_pipeline.search.around import AroundSampler

ATTEMPTS = 30
_GIVEN = "fixed_params"
"""System attribute of a trial in which Optuna keeps the values with which it was enqueued."""


class RuleKeeping(AroundSampler):
    """A sampler around another one, whose proposals keep the rules of a region."""

    def __init__(self, inner: BaseSampler, region: Region, *, seed: int) -> None:
        super().__init__(inner, region.space)  # the whole: rules may tie any of its parameters
        self._region = region
        self._rng = np.random.default_rng((seed, 2))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a configuration that keeps the rules, with what the trial already has."""
        stored = study._storage.get_trial(trial._trial_id)
        given: dict[str, Value] = {**stored.system_attrs.get(_GIVEN, {}), **stored.params}
        space = self.inner.infer_relative_search_space(study, trial)
        first: dict[str, Value] = {}
        for _ in range(ATTEMPTS):
            proposal = self.inner.sample_relative(study, trial, space)
            wish = {**proposal, **given}
            if wish.keys() >= set(self._distributions) and proposal.keys() <= given.keys():
                return wish  # nothing is open: the inner sampler was asked for its notes only
            found = self._completed(wish)
            if found is not None:
                return found
            first = first or wish
            if not proposal:
                break
        return self._nearest(first, given)

    def _completed(self, wish: Mapping[str, Value]) -> dict[str, Value] | None:
        if wish.keys() < set(self._distributions):
            return draw(self._region, self._rng, wish)
        return None if self._region.broken(wish) else dict(wish)

    def _nearest(self, wish: Mapping[str, Value], given: Mapping[str, Value]) -> dict[str, Value]:
        open_ones = draw(self._region, self._rng, given)
        if open_ones is None:
            raise BackendError(
                f"space_rules: no configuration was found that keeps them"
                f"{' with ' + json.dumps(dict(given)) if given else ''}"
            )
        whole = {name: wish.get(name, open_ones[name]) for name in self._distributions}
        return nearest(self._region, whole, self._rng, given) or open_ones
