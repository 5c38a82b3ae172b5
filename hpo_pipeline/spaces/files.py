"""Which system a file is of, and the experiment file that is made of it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hpo_pipeline.errors import DataError
from hpo_pipeline.spaces import SOURCES
from hpo_pipeline.spaces.document import SCRIPT, Draft, experiment_name
from hpo_pipeline.spaces.katib import from_katib, is_katib
from hpo_pipeline.spaces.nni_config import from_nni_config, is_nni
from hpo_pipeline.spaces.wandb_sweep import from_wandb_sweep, is_wandb

MAX_BYTES = 1_000_000
_WHAT = "an Experiment of Katib, a sweep of W&B, or a config or search space of NNI"


def import_file(named: str, source: str | None = None) -> Draft:
    """Make an experiment of a file of another system.

    Args:
        named: a file; or FILE.py:NAME of a space in Python, which is imported, and so run.
        source: the library of a space in Python, a row of SOURCES.

    Raises:
        DataError: the file cannot be read, or is of none of the systems.
    """
    if ".py" in Path(named.partition(":")[0]).suffix:
        return _python(named, source)
    path = Path(named)
    content = _document(path)
    name = experiment_name(path.stem)
    if is_katib(content):
        return from_katib(content)
    if is_wandb(content):
        return from_wandb_sweep(content, name)
    if is_nni(content):
        return from_nni_config(content, path.parent, name)
    keys = ", ".join(map(str, list(content)[:8]))
    raise DataError(f"{path}: is not {_WHAT}; its keys are {keys}")


def _document(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: has more than {MAX_BYTES:,} bytes; it is not {_WHAT}")
        text = path.read_text("utf-8")
        if path.suffix == ".json":
            documents = [json.loads(text)]
        else:
            documents = [found for found in yaml.safe_load_all(text) if found is not None]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, ValueError, yaml.YAMLError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as YAML or JSON: {first}") from error
    if len(documents) != 1 or not isinstance(documents[0], Mapping):
        raise DataError(f"{path}: must hold one mapping: {_WHAT}")
    return documents[0]


def _python(named: str, source: str | None) -> Draft:
    file, _, name = named.partition(":")
    if not name or source not in SOURCES:
        raise DataError(
            f"{file}: is Python, which would be run to read its space, so it must be asked for: "
            f"hpo import {file}:NAME --from {' or '.join(SOURCES)}"
        )
    space = _loaded(Path(file), name)
    draft = Draft(f"{name} of {Path(file).name} ({source})")
    draft.sections["name"] = experiment_name(Path(file).stem)
    draft.add_space(SOURCES[source](space))
    draft.add_objective("", "maximize")
    draft.sections["search"] = {"algorithm": "tpe", "seed": 0}
    draft.sections["budget"] = {"trials": 20}
    draft.sections["task"] = {"kind": "custom", "script": SCRIPT}
    return draft


def _loaded(file: Path, name: str) -> Any:
    if not file.is_file():
        raise DataError(f"{file}: there is no such file")
    sys.path.insert(0, str(file.parent.resolve()))
    try:
        return getattr(importlib.import_module(file.stem), name)
    # The module is the user's, and raises what it likes.
    except Exception as error:
        raise DataError(
            f"{file}:{name}: cannot be imported: {type(error).__name__}: {error}"
        ) from (error)
    finally:
        sys.path.pop(0)
