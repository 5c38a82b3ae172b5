"""A compiled pipeline: its name, its content as a hash, and the parameters that a run may set.

It reads what `kfp` compiles (a document of the pipeline, perhaps one of its platform) and what
the server gives back of it, without kfp.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hpo_pipeline.errors import ScheduleError

Json = dict[str, Any]
COMPILED = Path(__file__).with_name("hpo.yaml")
_TYPES = {
    "STRING": "text",
    "NUMBER_INTEGER": "whole number",
    "NUMBER_DOUBLE": "number",
    "BOOLEAN": "true or false",
    "LIST": "list",
    "STRUCT": "mapping",
}


@dataclass(frozen=True)
class Parameter:
    """What a pipeline takes under one name; `kind` is KFP's parameterType."""

    kind: str
    is_required: bool

    def __str__(self) -> str:
        """Return its type in words."""
        return _TYPES.get(self.kind, self.kind) + (", required" if self.is_required else "")

    def read(self, name: str, text: str) -> object:
        """Return the value that a text of the command line stands for."""
        if self.kind == "STRING":
            return text
        wanted: dict[str, tuple[type, ...]] = {
            "NUMBER_INTEGER": (int,),
            "NUMBER_DOUBLE": (int, float),
            "BOOLEAN": (bool,),
            "LIST": (list,),
            "STRUCT": (dict,),
        }
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
        kinds = wanted.get(self.kind)
        if kinds and (
            not isinstance(value, kinds) or (isinstance(value, bool) and self.kind != "BOOLEAN")
        ):
            raise ScheduleError(f"parameter {name}: must be a {self}, got {text!r}")
        return value


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline in a file."""

    path: Path
    name: str
    digest: str
    parameters: Mapping[str, Parameter]


def read_compiled(path: Path) -> Compiled:
    """Read a compiled pipeline.

    Raises:
        ScheduleError: the file is none.
    """
    try:
        documents = [doc for doc in yaml.safe_load_all(path.read_text("utf-8")) if doc is not None]
    except OSError as error:
        raise ScheduleError(
            f"{path}: cannot be read: {error.strerror}; `make pipeline` compiles pipelines/hpo.yaml"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScheduleError(f"{path}: is not YAML: {str(error).splitlines()[0]}") from error
    spec = documents[0] if documents and isinstance(documents[0], dict) else {}
    name = (spec.get("pipelineInfo") or {}).get("name")
    if not name or "root" not in spec:
        raise ScheduleError(f"{path}: is no compiled pipeline of KFP v2, no pipelineInfo or root")
    content = json.dumps(documents, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Compiled(path, str(name), digest, parameters_of(spec))


def parameters_of(spec: Json) -> dict[str, Parameter]:
    """Return the parameters of a pipeline, from a file's document or from a version's spec."""
    spec = spec.get("pipeline_spec") or spec  # where it has a platform, the server nests both
    definitions = (spec.get("root") or {}).get("inputDefinitions") or {}
    return {
        name: Parameter(
            str(given.get("parameterType", "")),
            not given.get("isOptional") and "defaultValue" not in given,
        )
        for name, given in (definitions.get("parameters") or {}).items()
    }
