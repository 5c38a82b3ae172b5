"""The search algorithms: one file and one row of `ALGORITHMS` each.

A file holds the algorithm's section of the experiment file (a frozen model with its settings),
its traits, and how its sampler is built. Schema, checks, Katib's list and the table in the docs
follow from the row. The files are in this layer because the schema of the experiment is made
of them; Optuna is imported only when a sampler is built, so that reading a file stays light.
Where Optuna has no suitable sampler, ours is a class in search/, named in the file
(`from_search`).

To add one, copy tpe.py, change it, and add the row.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field

from hpo_pipeline.experiment.algorithms.auto import AutoSearch
from hpo_pipeline.experiment.algorithms.base import AnySearch, Table
from hpo_pipeline.experiment.algorithms.cmaes import CmaesSearch
from hpo_pipeline.experiment.algorithms.genetic import GeneticSearch
from hpo_pipeline.experiment.algorithms.gp import GpSearch
from hpo_pipeline.experiment.algorithms.grid import GridSearch
from hpo_pipeline.experiment.algorithms.katib import StockSearch
from hpo_pipeline.experiment.algorithms.nsga2 import Nsga2Search
from hpo_pipeline.experiment.algorithms.pbt import PbtSearch
from hpo_pipeline.experiment.algorithms.qmc import QmcSearch
from hpo_pipeline.experiment.algorithms.random_search import RandomSearch
from hpo_pipeline.experiment.algorithms.tpe import TpeSearch
from hpo_pipeline.experiment.stock import Named

ALGORITHMS: dict[str, type[AnySearch]] = {
    "auto": AutoSearch,
    "random": RandomSearch,
    "grid": GridSearch,
    "qmc": QmcSearch,
    "tpe": TpeSearch,
    "gp": GpSearch,
    "cmaes": CmaesSearch,
    "genetic": GeneticSearch,
    "nsga2": Nsga2Search,
    "pbt": PbtSearch,
    "katib": StockSearch,
}

DEFAULT = "auto"


def section_of(table: Table) -> Any:
    """Return the type of the section `search` for the algorithms of a table."""
    union: Any = reduce(or_, table.values())
    return Annotated[Annotated[union, Field(discriminator="algorithm")], Named(DEFAULT)]


def served(table: Table = ALGORITHMS) -> dict[str, str]:
    """Return the algorithms that our services offer to Katib, each with the image it needs."""
    return {
        name: kind.service
        for name, kind in table.items()
        if kind.service is not None and not kind.is_choice
    }


def markdown_table(table: Table = ALGORITHMS) -> str:
    """Return the algorithms and their traits as a table in Markdown, for the docs."""
    rows = [
        ("algorithm", "what it is", "objectives", "warm start", "conditions", "needs", "settings"),
        ("---",) * 7,
    ]
    for name, kind in table.items():
        needs = [f"{kind.needs_numbers} or more numbers"] if kind.needs_numbers else []
        needs += ["a countable space"] if kind.is_exhaustible else []
        needs += ["Katib"] if kind.service is None else []
        settings = getattr(kind.model_fields["settings"].annotation, "model_fields", {})
        rows.append(
            (
                f"`{name}`" if kind.service else f"`{name}:NAME`",
                (kind.__doc__ or "").strip().splitlines()[0].rstrip("."),
                kind.objectives,
                "yes" if kind.learns_from_earlier else "no",
                "yes" if kind.knows_conditions else "no",
                ", ".join(needs) or "-",
                ", ".join(f"`{field}`" for field in settings) or "-",
            )
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"
