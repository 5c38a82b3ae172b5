"""What a study hands out and takes in: a configuration to try, and a trial known from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpo_pipeline.experiment.space import Value
from hpo_pipeline.results.trial import Trial


@dataclass(frozen=True)
class Suggestion:
    """A configuration to try, under the number of its trial.

    `parent` is the number of the trial from whose checkpoint it continues, if any; `seed` is
    that of its training, where it is not the search's; `is_again` tells that a person wants an
    equal trial to be trained once more.
    """

    number: int
    assignments: dict[str, Value]
    parent: int | None = None
    seed: int | None = None
    is_again: bool = False


@dataclass(frozen=True)
class Known:
    """A trial that was asked for elsewhere.

    `parameters` are all that were proposed, including those whose conditions do not hold;
    `ended_before` the numbers of the trials that had ended when it was asked for.
    """

    trial: Trial
    parameters: Mapping[str, Value]
    ended_before: frozenset[int] = frozenset()
