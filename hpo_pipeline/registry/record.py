"""What a registry keeps of a model: frozen values and their JSON.

Written by every driver and read by the command line, the report and the pipeline. It does not
know where records are kept, nor when a model becomes champion (gate.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.experiment.space import Value

CHAMPION = "champion"
CANDIDATE = "candidate"
ALIASES = (CHAMPION, CANDIDATE)
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
Record = TypeVar("Record", bound="Candidate")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Stage(StrEnum):
    """The place of a version: in use, the latest that was not promoted, or neither."""

    CHAMPION = CHAMPION
    CANDIDATE = CANDIDATE
    ARCHIVED = "archived"


@dataclass(frozen=True)
class Candidate:
    """A model to register. The same `key` (see `idempotency_key`) means the same version.

    `metrics` were measured on the validation rows, `test_metrics` on the held-out rows of the data
    with the hash `data_hash`; `reason` is the gate's. `seeds` holds the seeds of the split of the
    rows, of the search and of the training; `run` is the pipeline run that made the model.
    """

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    key: Sha256
    model_sha256: Sha256
    objective: str
    metrics: dict[str, float]
    test_metrics: dict[str, float]
    assignments: dict[str, Value]
    space_hash: str
    data_hash: str
    experiment: str
    trial: str
    reason: str
    image_digest: str | None = None
    source_revision: str | None = None
    seeds: dict[str, int] = field(default_factory=dict)
    run: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote; fields of later versions are ignored.

        Raises:
            RegistryError: fields are missing, of another type, or not a valid name or hash.
        """
        return _read(cls, json.dumps(data))


@dataclass(frozen=True)
class ModelRecord(Candidate):
    """A registered version: what was handed in, and what the registry added."""

    version: Annotated[int, Field(ge=1)] = field(kw_only=True)
    created: str = field(kw_only=True)
    model_uri: str = field(kw_only=True)
    stage: Stage = field(kw_only=True)


def read_candidate(text: str, *, where: str) -> Candidate:
    """Return the candidate in the JSON text of a registry, which others may have written.

    Raises:
        RegistryError: it is not one, with `where` it was found.
    """
    try:
        return _read(Candidate, text)
    except RegistryError as error:
        raise RegistryError(
            f"{where}: must hold a record as hpo-pipeline writes it, got: {error}; restore it from "
            f"a backup"
        ) from error


class EventKind(StrEnum):
    """What can happen to a version."""

    REGISTERED = "registered"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True)
class Event:
    """One line of a model's history; for a rollback, `version` is the champion it restored."""

    version: int
    kind: EventKind
    time: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def champions(events: Sequence[Event]) -> list[int]:
    """Return the champions that rollbacks would go through, the current one last."""
    line: list[int] = []
    for event in events:
        if event.kind is EventKind.PROMOTED:
            line.append(event.version)
        elif event.kind is EventKind.ROLLED_BACK and line:
            line.pop()
    return line


def before(name: str, line: Sequence[int]) -> int:
    """Return the champion that a rollback restores.

    Raises:
        RegistryError: the current champion is the first one, or there is none.
    """
    if len(line) < 2:
        now = f"version {line[0]} is the first" if line else "there is no champion"
        raise RegistryError(f"{name}: must have had a champion before this one, got: {now}")
    return line[-2]


def find(name: str, records: Sequence[ModelRecord], version: int | str) -> ModelRecord:
    """Return the version of that number or alias.

    Raises:
        RegistryError: there is none.
    """
    for record in records:
        is_alias = version in ALIASES and version == record.stage
        if is_alias or str(version) == str(record.version):
            return record
    have = ", ".join(str(r.version) for r in records)
    aliases = " or ".join(ALIASES)
    raise RegistryError(f"{name}: version must be one of {have}, or {aliases}, got {version!r}")


def check(candidate: Candidate) -> None:
    """Check that a registry can keep a candidate.

    Raises:
        RegistryError: the name is invalid, or a metric is not finite.
    """
    check_name(candidate.name)
    try:
        json.dumps(candidate.to_json(), allow_nan=False)
    except ValueError as error:
        raise RegistryError(f"{candidate.name}: metrics must be finite, got: {error}") from error


def check_name(name: str) -> None:
    """Check the name of a model, from which folders are named.

    Raises:
        RegistryError: the name is invalid.
    """
    if not NAME.fullmatch(name):
        raise RegistryError(
            f"model name: must be 1 to 63 of a-z, 0-9, '.', '_', '-', with a letter or digit at "
            f"both ends, got {name!r}"
        )


_ADAPTERS: dict[type[Candidate], TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (Candidate, ModelRecord)
}


def _read(kind: type[Record], text: str) -> Record:
    try:
        # Strict, and of JSON: there a dataclass may be an object, and "1" is not a number.
        found: Record = _ADAPTERS[kind].validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = ".".join(map(str, first["loc"])) or "the record"
        raise RegistryError(f"{path}: {first['msg']}, got {first['input']!r:.80}") from error
    return found


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def local_path(uri: str) -> Path:
    """Return the path of a file:// URI.

    Raises:
        RegistryError: it is another kind of URI, or names another machine.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise RegistryError(f"the registry must be file:///PATH, on this machine, got {uri!r}")
    return Path(unquote(parts.path))


def idempotency_key(experiment_identity: str, trial: str, model_sha256: str) -> str:
    """Return the key of a model: the same whenever a trial's same model is registered."""
    parts = "\n".join((experiment_identity, trial, model_sha256))
    return hashlib.sha256(parts.encode()).hexdigest()


def folder_sha256(folder: Path) -> str:
    """Return a hash of a model folder: the names and contents of all its files, sorted.

    Raises:
        RegistryError: the folder is missing, empty or cannot be read.
    """
    total = hashlib.sha256()
    try:
        files = sorted(
            (path.relative_to(folder).as_posix(), path)
            for path in folder.rglob("*")
            if path.is_file()
        )
        for name, path in files:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            # A name cannot hold a NUL, so no two folders give the same text.
            total.update(f"{name}\0{content}\n".encode())
    except OSError as error:
        raise RegistryError(f"{folder}: a model folder must be readable, got: {error}") from error
    if not files:
        raise RegistryError(f"{folder}: must be a folder with a model in it, got no files")
    return total.hexdigest()
