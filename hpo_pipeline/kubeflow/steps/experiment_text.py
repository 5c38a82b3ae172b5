"""The experiment of a run: from the text and the parameters of a pipeline, and back to text."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from hpo_pipeline.engines import ENGINES, engine_faults
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.registry import preflight
from hpo_pipeline.results.run_names import LONGEST, LONGEST_PBT, run_name

OVERRIDES = {
    "trials": ("budget", "trials"),
    "parallel": ("budget", "parallel"),
    "minutes": ("budget", "minutes"),
    "namespace": ("cluster", "namespace"),
    "trial_image": ("cluster", "image"),
    "registry": ("register", "registry"),
    "data_version": ("task", "data_version"),
}
"""What a parameter replaces in the experiment: a section and its entry."""


class Checked(NamedTuple):
    """A valid experiment under the name of this run, and the part that decides its data."""

    experiment: str
    data: str


def overriding(given: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a step that replace entries of the experiment."""
    return {name: given[name] for name in OVERRIDES if name in given}


def check(text: str, engine: str, run_id: str, *, gpus: int = 0, **overrides: object) -> Checked:
    """Check the text of an experiment, with all faults at once, and name this run of it.

    The registry is contacted as well: it would be too late to find after the search that no model
    can be registered.

    Args:
        run_id: the same for all steps of a run, also when they are retried.
        gpus: what each step that trains asks for.
        overrides: see `OVERRIDES`; 0 or an empty text keeps the value of the experiment.

    Raises:
        ExperimentError: it is wrong, or this engine cannot run it.
        RegistryError: models could not be registered.
    """
    experiment = read_text(text, overrides)
    faults = [f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}"]
    if engine in ENGINES:
        faults = engine_faults(engine, experiment)
    faults += _registry_faults(experiment) if engine == "local" else []
    if engine == "katib" and gpus:
        faults.append(
            f"gpus: is for the engine local, got {gpus}; on Katib the trials have the GPUs: set "
            f"cluster.gpus in the experiment"
        )
    if faults:
        raise ExperimentError(experiment.name, faults)
    _contact_registry(experiment, engine)
    content = experiment.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    kept = ("name", "task", "objective", "space", "cluster")
    data = {**{key: content[key] for key in kept if key in content}, "budget": {"trials": 1}}
    return Checked(as_text(named(experiment, run_id)), yaml.safe_dump(data, sort_keys=False))


def named(experiment: Experiment, run_id: str) -> Experiment:
    """Return an experiment under the name of one run of it."""
    is_population = experiment.search.population_size is not None
    longest = LONGEST_PBT if is_population else LONGEST
    return experiment.model_copy(
        update={"name": run_name(experiment.name, run_id, longest=longest)}
    )


def read_text(text: str, overrides: Mapping[str, object] | None = None) -> Experiment:
    """Return the experiment of a text; parameters that are 0 or empty change nothing."""
    changes: dict[str, dict[str, object]] = {}
    for name, value in (overrides or {}).items():
        section, entry = OVERRIDES[name]
        if value:
            changes.setdefault(section, {})[entry] = value
    return with_changes(text, changes)


def with_changes(text: str, changes: Mapping[str, Mapping[str, object]]) -> Experiment:
    """Return the experiment of a text with some entries changed, by section.

    Raises:
        ExperimentError: with all faults.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "experiment.yaml"
        file.write_text(text, "utf-8")
        try:
            return load(file, **changes)
        except ExperimentError as error:
            raise ExperimentError("the experiment", error.faults) from error


def as_text(experiment: Experiment) -> str:
    """Return an experiment as the text that `read_text` reads back."""
    content = experiment.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(content, sort_keys=False)


def _registry_faults(experiment: Experiment) -> list[str]:
    """Return what is wrong with a registry that is a folder: a step's disk is lost with its pod."""
    section = experiment.register_
    found = registry_of(experiment)
    if section is None or (found and (re.match(r"\w+://", found) or Path(found).is_absolute())):
        return []
    return [
        f"register.registry: with the engine local it must be a service (mlflow://…, "
        f"kubeflow://…) or an absolute path on a volume of the step, got {found or 'nothing'}"
    ]


def _contact_registry(experiment: Experiment, engine: str) -> None:
    """Find what would stop the registration, before anything is searched."""
    section = experiment.register_
    if section is None:
        return
    if engine == "local":
        preflight(of_file=section.registry)
    elif "://" in (section.registry or ""):  # else it is a folder in the storage
        preflight(of_file=section.registry, elsewhere=True)


def registry_of(experiment: Experiment) -> str | None:
    """Return the URI or path of the registry, if the steps know it."""
    section = experiment.register_
    return (section.registry if section else None) or os.environ.get("HPO_REGISTRY")
