"""The section `search`: one of the algorithms that algorithms/ has a row for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo_pipeline.experiment.algorithms import ALGORITHMS, DEFAULT, section_of
from hpo_pipeline.experiment.algorithms.base import AnySearch

if TYPE_CHECKING:
    SearchSection = AnySearch
else:
    SearchSection = section_of(ALGORITHMS)

DEFAULT_SEARCH: AnySearch = ALGORITHMS[DEFAULT](algorithm=DEFAULT)
