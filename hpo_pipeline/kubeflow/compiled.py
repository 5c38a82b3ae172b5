"""A compiled pipeline: its name, the hash of its content, and the parameters of its runs.

Reads what `kfp` compiles (a document for the pipeline, perhaps one for its platform) and what the
server returns of it, without kfp.
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
    """A parameter of a pipeline; `kind` is KFP's parameterType."""

    kind: str
    is_required: bool

    def __str__(self) -> str:
        """Return its type as people call it."""
        return _TYPES.get(self.kind, self.kind) + (", required" if self.is_required else "")

    def read(self, name: str, text: str) -> object:
        """Convert a text of the command line.

        Raises:
            ScheduleError: it is not of this type.
        """
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
        ScheduleError: the file is not one, or cannot be read.
    """
    try:
        documents = [doc for doc in yaml.safe_load_all(path.read_text("utf-8")) if doc is not None]
    except OSError as error:
        raise ScheduleError(
            f"{path}: cannot be read: {error.strerror}; `make pipeline` compiles it in a checkout"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScheduleError(f"{path}: is not valid YAML: {str(error).splitlines()[0]}") from error
    spec = documents[0] if documents and isinstance(documents[0], dict) else {}
    name = (spec.get("pipelineInfo") or {}).get("name")
    if not name or "root" not in spec:
        raise ScheduleError(
            f"{path}: is not a compiled pipeline of KFP v2: it has no pipelineInfo or root"
        )
    content = json.dumps(documents, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Compiled(path, str(name), digest, parameters_of(spec))


def parameters_of(spec: Json) -> dict[str, Parameter]:
    """Return the parameters in the spec of a pipeline, from a file or from the server."""
    spec = spec.get("pipeline_spec") or spec  # with a platform, the server nests both
    definitions = (spec.get("root") or {}).get("inputDefinitions") or {}
    return {
        name: Parameter(
            str(given.get("parameterType", "")),
            not given.get("isOptional") and "defaultValue" not in given,
        )
        for name, given in (definitions.get("parameters") or {}).items()
    }
