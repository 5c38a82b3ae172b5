"""Reading an experiment file: all its faults in one message, each with its path.

It turns pydantic's faults into the words of the file, adds what consistency.py finds between
the sections that are right by themselves, and makes paths absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from hpo_pipeline.consistency import cross_faults
from hpo_pipeline.document import read_document
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment import Experiment

DATA_SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


def load(path: Path, *, budget: Mapping[str, int] | None = None) -> Experiment:
    """Read an experiment file; entries of `budget` replace those of the file.

    Raises:
        ExperimentError: with all faults that can be seen without transformers.
    """
    experiment, faults, _ = read(path, budget=budget)
    if faults or experiment is None:
        raise ExperimentError(str(path), faults)
    return experiment


def read(
    path: Path, *, budget: Mapping[str, int] | None = None
) -> tuple[Experiment | None, list[str], dict[str, Any]]:
    """Read an experiment file without raising for faults inside it.

    Returns:
        the experiment or None; the faults; and the sections that are right by themselves, so
        that further checks can speak about them together with the faults of the others.

    Raises:
        ExperimentError: the file is not a readable YAML mapping.
    """
    raw = read_document(path)
    if budget and isinstance(raw.get("budget"), dict):
        raw["budget"] = {**raw["budget"], **budget}
    faults: list[str] = []
    experiment = None
    try:
        experiment = Experiment.model_validate(_located(raw, path.parent))
    except ValidationError as error:
        faults = _messages(error)
    sections = dict(experiment) if experiment else _sound_sections(raw)
    faults += cross_faults(sections)
    return experiment, faults, sections


def _located(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make paths in the task absolute; what is no path there stays a name."""
    task = raw.get("task")
    if not isinstance(task, dict):
        return raw
    located = dict(task)
    for key in ("model", "data"):
        name = task.get(key)
        if isinstance(name, str) and name and "://" not in name and _is_path(name, folder):
            located[key] = str((folder / name).resolve())
    return {**raw, "task": located}


def _is_path(name: str, folder: Path) -> bool:
    looks_so = name.startswith((".", "/", "~")) or Path(name).suffix in DATA_SUFFIXES
    return looks_so or ("/" in name and (folder / name).exists())


def _messages(error: ValidationError) -> list[str]:
    """Turn pydantic's faults into `path: what, got value`, without its union tags."""
    lines = []
    for fault in error.errors():
        tags = {"float", "int", "choice", "constrained-float", "constrained-int"}
        parts = [str(part) for part in fault["loc"]]
        path = ".".join(
            part
            for i, part in enumerate(parts)
            if not (
                (part in tags and i > 1 and parts[0] == "space")
                or part.startswith("function-")
                or part.startswith("constrained")
            )
        )
        text = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            text = f"unknown key{_siblings(fault['loc'])}"
        elif fault["type"] == "missing":
            text = "is required"
        elif "got" not in text:
            text = f"{text[:1].lower()}{text[1:]}, got {_short(fault['input'])}"
        lines.append(f"{path or 'the file'}: {text}")
    return list(dict.fromkeys(lines))


def _siblings(location: tuple[int | str, ...]) -> str:
    """Name the keys that are allowed where an unknown one stands."""
    model: Any = Experiment
    for part in location[:-1]:
        fields = getattr(model, "model_fields", {})
        by_alias = {field.alias or name: field for name, field in fields.items()}
        model = by_alias[str(part)].annotation if str(part) in by_alias else None
    fields = getattr(model, "model_fields", None)
    if not fields:
        return ""
    return "; allowed are " + ", ".join(field.alias or name for name, field in fields.items())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _sound_sections(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the sections that are right by themselves, parsed."""
    sections: dict[str, Any] = {}
    for name, field in Experiment.model_fields.items():
        key = field.alias or name
        if key not in raw:
            if not field.is_required():
                sections[name] = field.get_default(call_default_factory=True)
            continue
        adapter = TypeAdapter(Annotated[(field.annotation, Field(), *field.metadata)])
        try:
            sections[name] = adapter.validate_python(raw[key])
        except ValidationError:
            continue
    return sections
