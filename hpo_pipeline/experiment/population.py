"""The population of population based training: which trial is which member, and trains how far.

Trial n is one interval in the life of member n % size, in generation n // size. Search, trial
and engine must agree on this, so it is defined here, in plain numbers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hpo_pipeline.experiment.algorithms.base import AnySearch
from hpo_pipeline.experiment.schema import Experiment


@dataclass(frozen=True)
class Population:
    """`size` members, each of which trains in `generations` intervals."""

    size: int
    generations: int

    def generation(self, number: int) -> int:
        """Return the generation of a trial; the first is 0."""
        return number // self.size

    def members(self, generation: int) -> range:
        """Return the numbers of the trials of a generation."""
        return range(generation * self.size, (generation + 1) * self.size)

    def end(self, number: int, steps: int) -> int:
        """Return the training step at which a trial ends, of `steps` in all."""
        return round(steps * (self.generation(number) + 1) / self.generations)

    def is_done(self, number: int, finished: Collection[int]) -> bool:
        """Return whether no trial will need the checkpoint of this one any more."""
        following = self.generation(number) + 1
        return following >= self.generations or all(n in finished for n in self.members(following))


def population(experiment: Experiment) -> Population | None:
    """Return the population of an experiment, or None where its search has none."""
    return population_of(experiment.search, experiment.budget.trials)


def population_of(search: AnySearch, trials: int) -> Population | None:
    """Return the population of a search of so many trials, or None where it has none."""
    size = search.population_size
    return None if size is None else Population(size, trials // size)
