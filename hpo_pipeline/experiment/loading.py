"""Reading an experiment file: all its faults in one message, each with its path.

It rewords pydantic's faults in the terms of the file, adds what checks/ finds between the
sections that are valid by themselves, and makes paths absolute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.checks.sections import cross_faults
from hpo_pipeline.experiment.document import read_document
from hpo_pipeline.experiment.schema import Experiment, Select
from hpo_pipeline.experiment.space import PARAMETERS
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.user_metrics import located as located_metric

DATA_SUFFIXES = (
    *(".csv", ".tsv", ".json", ".jsonl", ".txt", ".conll"),
    *(".parquet", ".arrow", ".feather", ".gz", ".zst"),
)
RULES = [get_args(kind.model_fields["rule"].annotation)[0] for kind in get_args(Select)]
# Pydantic's words where they speak of Python rather than of the file.
_WORDS = {
    "extra_forbidden": "unknown key",
    "missing": "is required",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
    "union_tag_invalid": "must be one of {expected_tags}, got '{tag}'",
    "union_tag_not_found": "type is required: float, int or choice",
}


_PATTERNS: dict[tuple[int | str, ...], str] = {
    ("name",): "must be 1 to 40 of a-z, 0-9 and -, with a letter first and no - at the end",
    ("register", "model"): "must be 1 to 63 of a-z, 0-9, . _ and -, with a letter or digit at "
    "both ends",
    ("cluster", "namespace"): "must be 1 to 63 of a-z, 0-9 and -, without - at either end",
}
_EXAMPLES: dict[tuple[int | str, ...], str] = {
    ("search",): "{algorithm: tpe}",
    ("stopping",): "{algorithm: median}",
    ("select",): "{rule: knee}",
    ("budget",): "{trials: 20}",
}
Changes = Mapping[str, Any] | None


def load(
    path: Path | str, schema: type[Experiment] = Experiment, /, **changes: Changes
) -> Experiment:
    """Read an experiment file.

    Args:
        schema: the model of the file; another than ours where its tables have more rows.
        changes: by section (`budget`, `cluster`, …), entries that replace those of the file.

    Raises:
        ExperimentError: with all faults that can be seen without transformers.
    """
    experiment, faults, _ = read(path, schema, **changes)
    if faults or experiment is None:
        raise ExperimentError(str(path), faults)
    return experiment


def read(
    path: Path | str, schema: type[Experiment] = Experiment, /, **changes: Changes
) -> tuple[Experiment | None, list[str], dict[str, Any]]:
    """Read an experiment file without raising for faults inside it.

    Returns:
        the experiment or None; the faults; and the sections that are valid by themselves, so
        that further checks can speak about them together with the faults of the others.

    Raises:
        ExperimentError: the file is not a readable YAML mapping.
    """
    path = Path(path)
    raw = read_document(path)
    for section, entries in changes.items():
        if entries and isinstance(raw.get(section, {}), dict):
            raw[section] = {**raw.get(section, {}), **entries}
    return read_sections(raw, path.parent, schema)


MODEL = "task.model"
"""The parameter of a space that chooses among pretrained models."""


def read_sections(
    raw: dict[str, Any], folder: Path, schema: type[Experiment] = Experiment
) -> tuple[Experiment | None, list[str], dict[str, Any]]:
    """Read the sections of an experiment, with paths relative to a folder; returns as `read`."""
    located, faults = _located(raw, folder)
    experiment = None
    try:
        experiment = schema.model_validate(located)
    except ValidationError as error:
        faults += _messages(error, raw, schema)
    sections = dict(experiment) if experiment else _sound_sections(raw, schema)
    faults += cross_faults(sections)
    return experiment, faults, sections


def _located(raw: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Make paths in the task absolute; what is not a path there stays a name.

    Returns:
        the sections, and faults of paths that no file can have.
    """
    task = raw.get("task")
    if not isinstance(task, dict):
        return raw, []
    located, faults = dict(task), []
    for key in ("model", "data"):
        given = task.get(key)
        names = given if isinstance(given, list) else [given]
        found = []
        for name in names:
            try:
                found.append(_located_name(key, name, folder))
            # RuntimeError: a link that leads to itself. ValueError: a null character.
            except (OSError, RuntimeError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error).split(" from ")[0]
                faults.append(f"task.{key}: cannot be a path ({reason}), got {_short(name)}")
                found.append(name)
        if key in task:
            located[key] = found if isinstance(given, list) else found[0]
    space = _with_located_models(raw.get("space"), folder)
    if models := _searched_models(space):
        located.setdefault("model", models[0])
    if isinstance(metrics := task.get("metrics"), dict):
        located["metrics"] = {n: _located_metric(target, folder) for n, target in metrics.items()}
    for key in ("trainer", "measure", "evaluate"):
        if key in task:
            located[key] = _located_metric(task[key], folder)
    if isinstance(script := task.get("script"), str):
        located["script"] = str((folder / script).resolve())
    return {**raw, "task": located, **({"space": space} if "space" in raw else {})}, faults


def _with_located_models(space: Any, folder: Path) -> Any:
    """Make the paths among the models that a space chooses from absolute."""
    models = _searched_models(space)
    if not models:
        return space
    return {**space, MODEL: {**space[MODEL], "values": [_located_model(m, folder) for m in models]}}


def _searched_models(space: Any) -> list[Any]:
    entry = space.get(MODEL) if isinstance(space, dict) else None
    values = entry.get("values") if isinstance(entry, dict) else None
    return values if isinstance(values, list) else []


def _located_model(name: Any, folder: Path) -> Any:
    try:
        is_path = isinstance(name, str) and "://" not in name and _is_path("model", name, folder)
        return str((folder / os.path.expanduser(name)).resolve()) if is_path else name
    except (OSError, RuntimeError, ValueError):  # the text is refused as a value of the space
        return name


def _located_name(key: str, name: object, folder: Path) -> object:
    """Make the path of a model or of data absolute; globs stay globs."""
    if not isinstance(name, str) or not name or "://" in name or not _is_path(key, name, folder):
        return name
    return str((folder / os.path.expanduser(name)).resolve())


def _located_metric(target: object, folder: Path) -> object:
    """Name the folder of a metric whose module is beside the file."""
    try:
        return located_metric(target, folder.resolve()) if isinstance(target, str) else target
    except (OSError, RuntimeError, ValueError):  # no file can have that name
        return target


def _is_path(key: str, name: str, folder: Path) -> bool:
    """Return whether a name is a path: it looks so, or is beside the experiment file.

    The folder in which a command happens to be started has no say.
    """
    if name.startswith((".", "/", "~")) or Path(name).suffix.lower() in DATA_SUFFIXES:
        return True
    if key == "data" and any(sign in name for sign in "*?["):
        return True
    beside = folder / name
    is_bare_model = key == "model" and "/" not in name  # which is often a type, such as bert
    return (beside / "config.json" if is_bare_model else beside).exists()


def _messages(
    error: ValidationError, raw: Mapping[str, Any], schema: type[Experiment]
) -> list[str]:
    """Turn pydantic's faults into `path: what, got value`, in the terms of the file."""
    faults = error.errors()
    kinds = _kinds(schema)
    lines = []
    for fault in faults:
        where = fault["loc"]
        if fault["type"] == "too_short" and any(_is_below(f["loc"], where) for f in faults):
            continue  # pydantic counts the sound entries only
        if fault["type"] == "union_tag_invalid":
            where = (*where, fault["ctx"]["discriminator"].strip("'"))
        words = _WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        text = words.format(**fault.get("ctx", {})) if fault["type"] in _WORDS else words
        if fault["type"] == "string_pattern_mismatch":
            text = _PATTERNS.get(where, text.replace("string should match", "must match"))
        if fault["type"].startswith("model") and (example := _EXAMPLES.get(where)):
            text += f" such as {example}"
        if fault["type"] == "union_tag_not_found" and where[0] == "select":
            text = f"rule is required: {', '.join(RULES)}"
        if fault["type"] == "extra_forbidden":
            text += _siblings(where, schema, kinds, _own_fields(raw) if len(where) == 2 else ())
        elif fault["type"] != "missing" and "got" not in text:
            text = f"{text[:1].lower()}{text[1:]}, got {_short(fault['input'])}"
        lines.append(f"{_path(where, raw, kinds) or 'the file'}: {text}")
    return list(dict.fromkeys(lines))


def _is_below(location: tuple[int | str, ...], above: tuple[int | str, ...]) -> bool:
    return len(location) > len(above) and location[: len(above)] == above


Kinds = Mapping[str, Mapping[str, Any]]


def _kinds(schema: type[Experiment]) -> Kinds:
    """Return the models that a section may have, by the tag that chooses among them."""
    tags = {"search": "algorithm", "stopping": "algorithm", "select": "rule"}
    return {
        section: {
            get_args(kind.model_fields[tag].annotation)[0]: kind
            for kind in _models(schema.model_fields[section].annotation)
        }
        for section, tag in tags.items()
    }


def _models(annotation: Any) -> Iterator[Any]:
    """Yield the models of a union, however deep `| None` and Annotated have put them."""
    if hasattr(annotation, "model_fields"):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _path(location: tuple[int | str, ...], raw: Mapping[str, Any], kinds: Kinds) -> str:
    """Write a location as the file has it: without union tags, and one objective unnumbered."""
    parts = [str(part) for part in location]
    if parts[:1] == ["space"] and len(parts) > 2 and parts[2] in PARAMETERS:
        del parts[2]
    if len(parts) > 1 and parts[1] in kinds.get(parts[0], {}):
        del parts[1]
    if parts[:2] == ["task", "settings"]:
        del parts[1]
    if parts[:2] == ["objective", "0"] and not isinstance(raw.get("objective"), list):
        del parts[1]
    return ".".join(parts)


def _own_fields(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the fields that the kind of the task adds to the section."""
    task = raw.get("task")
    kind = TASKS.get(str(task.get("kind"))) if isinstance(task, dict) else None
    return tuple(kind.Settings.model_fields) if kind is not None else ()


def _siblings(
    location: tuple[int | str, ...],
    schema: type[Experiment],
    kinds: Kinds,
    own: tuple[str, ...],
) -> str:
    """Name the keys that are allowed in place of an unknown one.

    Args:
        own: fields of the task that are its kind's alone.
    """
    model: Any = schema
    for part in location[:-1]:
        if part in PARAMETERS and location[0] == "space":
            model = PARAMETERS[str(part)]
        elif part in (tagged := kinds.get(str(location[0]), {})):
            model = tagged[str(part)]
        elif isinstance(part, str) and (names := _fields(model)) and part in names:
            model = names[part].annotation
            # `tuple[Objective, ...]` and `Register | None` hold the model that is meant.
            model = next((kind for kind in get_args(model) if _fields(kind)), model)
    allowed = [name for name in _fields(model) if name != "settings"]
    return "; allowed are " + ", ".join([*allowed, *own] if location[0] == "task" else allowed)


def _fields(model: Any) -> dict[str, Any]:
    fields = getattr(model, "model_fields", {})
    return {field.alias or name: field for name, field in fields.items()}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _sound_sections(raw: dict[str, Any], schema: type[Experiment]) -> dict[str, Any]:
    """Return the sections that are valid by themselves, parsed."""
    sections: dict[str, Any] = {}
    for name, field in schema.model_fields.items():
        key = field.alias or name
        if key not in raw:
            if not field.is_required():
                sections[name] = field.get_default(call_default_factory=True)
            continue
        kind: Any = Annotated[(field.annotation, Field(), *field.metadata)]
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        try:
            sections[name] = adapter.validate_python(raw[key])
        except ValidationError:
            continue
    return sections
