"""Experiments that are built in Python: the sections of the file as keyword arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment import schema
from hpo_pipeline.experiment.loading import read_sections
from hpo_pipeline.experiment.space import Frozen


class Experiment(schema.Experiment):
    """An experiment, with every section as its YAML would be: mappings, lists, numbers, texts.

    Paths are relative to the current folder.

    Raises:
        ExperimentError: with all faults at once, in the same words as for a file.
    """

    def __init__(self, **sections: Any) -> None:
        plain = {name: _plain(section) for name, section in sections.items()}
        found, faults, _ = read_sections(plain, Path.cwd())
        if faults or found is None:
            raise ExperimentError("the experiment", faults)
        super().__init__(**found.model_dump(mode="json", by_alias=True, exclude_none=True))


def _plain(section: Any) -> Any:
    """Return a section as plain data, also where it is one of another experiment."""
    if isinstance(section, Frozen):
        return section.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(section, list | tuple):
        return [_plain(item) for item in section]
    return section
