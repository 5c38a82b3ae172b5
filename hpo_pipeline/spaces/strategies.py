"""Search and stopping algorithms of other systems: what each is here, or what is nearest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_pipeline.spaces.document import Draft

Section = dict[str, Any]
Found = tuple[Section, str]
"""A section, and how it differs; empty where it does not."""

_TPE: Section = {"algorithm": "tpe"}
_RANDOM: Section = {"algorithm": "random"}
_HYPERBAND: Section = {"algorithm": "hyperband"}
SEARCHES: Mapping[str, Found] = {
    "random": (_RANDOM, ""),
    "grid": ({"algorithm": "grid"}, ""),
    "gridsearch": ({"algorithm": "grid"}, ""),
    "tpe": (_TPE, ""),
    "multivariate-tpe": (_TPE, ""),
    "bayesianoptimization": ({"algorithm": "gp"}, ""),
    "bayes": (_TPE, "was Bayesian optimisation; tpe is, too, and `gp` has Gaussian processes"),
    "gptuner": ({"algorithm": "gp"}, ""),
    "gp": ({"algorithm": "gp"}, ""),
    "metis": ({"algorithm": "gp"}, "Metis is not here; gp has Gaussian processes, too"),
    "metistuner": ({"algorithm": "gp"}, "Metis is not here; gp has Gaussian processes, too"),
    "smac": (_TPE, "SMAC is not here; tpe handles the same spaces"),
    "anneal": (_TPE, "annealing is not here; tpe handles the same spaces"),
    "evolution": ({"algorithm": "genetic"}, ""),
    "cmaes": ({"algorithm": "cmaes"}, ""),
    "sobol": ({"algorithm": "qmc"}, ""),
    "hyperband": (_RANDOM, "hyperband is random search with stopping: hyperband here"),
    "bohb": (_TPE, "BOHB is tpe with stopping: hyperband here"),
    "pbt": ({"algorithm": "pbt"}, ""),
    "pbttuner": ({"algorithm": "pbt"}, ""),
}
"""By the names of Katib, NNI and W&B in lower case."""
BRACKETS = ("hyperband", "bohb")
STOPPING: Mapping[str, Section] = {
    "medianstop": {"algorithm": "median"},
    "hyperband": _HYPERBAND,
}


def carry_search(draft: Draft, named: object) -> None:
    """Put the counterpart of an algorithm into a draft."""
    name = str(named or "").lower()
    section, difference = SEARCHES.get(name, (_TPE, ""))
    if name not in SEARCHES:
        draft.lost.append(
            f"search: {named!r} has no counterpart; tpe is written, and docs/strategies.md has all"
        )
    elif difference:
        draft.notes.append(f"search: {difference}")
    draft.sections["search"] = {**section, "seed": 0}
    if name in BRACKETS:
        draft.sections["stopping"] = dict(_HYPERBAND)


def carry_stopping(draft: Draft, named: object, **fields: Any) -> None:
    """Put the counterpart of a stopping rule into a draft."""
    name = str(named or "").lower()
    if name not in STOPPING:
        draft.lost.append(
            f"stopping: {named!r} has no counterpart; median and asha do the like "
            f"(docs/strategies.md)"
        )
        return
    known = {key: value for key, value in fields.items() if value is not None}
    draft.sections["stopping"] = {**STOPPING[name], **known}
