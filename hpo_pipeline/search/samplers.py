"""Building the sampler of a search, and what Optuna's samplers need around them.

A sampler is built for each suggestion, seeded by the search's seed and the number of the
trial. All it knows is then in the study, so that a search resumes after a crash as if nothing
had happened, on any engine. Which algorithms there are: experiment/algorithms/.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace

from hpo_pipeline.experiment.algorithms.base import Problem
from hpo_pipeline.experiment.rules.region import region_of
from hpo_pipeline.search.around import innermost
from hpo_pipeline.search.prior import PriorSampler
from hpo_pipeline.search.rule_keeping import RuleKeeping


def build(problem: Problem, number: int) -> BaseSampler:
    """Return the sampler that suggests the configuration of trial `number`."""
    with warnings.catch_warnings():
        # multivariate and constant_liar are marked experimental in Optuna 5.
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = problem.search.sampler(problem, number)
    if problem.search.prior:
        sampler = PriorSampler(sampler, problem, number)
    if not problem.rules or problem.search.is_exhaustible:
        return sampler  # a grid has no other points
    region = region_of(problem.space, problem.rules)
    return RuleKeeping(sampler, region, seed=problem.search.seed_of(number))


@contextmanager
def constraints_elsewhere() -> Iterator[None]:
    """Silence samplers that ignore constraints: the selection respects them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Constraints have been set")
        yield


def take_over_space(sampler: BaseSampler, earlier: BaseSampler) -> None:
    """Hand a sampler what an earlier one of the same study has found out about the space.

    Optuna goes through all trials for it, once for a sampler; with one for each suggestion, a
    thousand trials that are replayed would take a million looks.
    """
    sampler, earlier = innermost(sampler), innermost(earlier)
    for name in ("_search_space", "_intersection_search_space"):
        found = getattr(earlier, name, None)
        if type(earlier) is type(sampler) and isinstance(found, IntersectionSearchSpace):
            setattr(sampler, name, found)
