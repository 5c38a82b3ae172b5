"""The entries of experiment files that are not the same; pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.reports.compared_rows import Row
from hpo_pipeline.reports.sharing import shareable_tree

LEFT_OUT = ("cluster", "name", "objective")
"""Sections that are not listed: addresses and environment of a cluster; what stands above."""
ABSENT = "absent"


def differing_settings(experiments: Sequence[Experiment]) -> tuple[Row, ...]:
    """Return the entries of the experiment files that are not the same; places are shareable."""
    flat = [_flat(experiment) for experiment in experiments]
    names = dict.fromkeys(name for settings in flat for name in settings)
    rows = (
        Row(name, *2 * (tuple(settings.get(name, ABSENT) for settings in flat),)) for name in names
    )
    return tuple(row for row in rows if row.differs)


def _flat(experiment: Experiment) -> dict[str, str]:
    content = experiment.model_dump(mode="json", by_alias=True)
    for section in LEFT_OUT:
        content.pop(section, None)
    found: dict[str, str] = {}
    for section, value in content.items():
        _flatten(section, value, found)
    return found


def _flatten(path: str, value: Any, found: dict[str, str]) -> None:
    """Add the leaves of a tree by path; a parameter of the space is one leaf."""
    if isinstance(value, dict) and not path.startswith("space."):
        for name, entry in value.items():
            # In the file, the settings of an algorithm or a kind stand beside its name.
            _flatten(path if name == "settings" else f"{path}.{name}", entry, found)
        return
    shown = shareable_tree(value)
    if isinstance(shown, dict):
        shown = {name: entry for name, entry in shown.items() if entry is not None}
    found[path] = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
