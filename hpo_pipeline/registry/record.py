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
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.experiment.space import Value

CHAMPION = "champion"
CANDIDATE = "candidate"
ALIASES = (CHAMPION, CANDIDATE)
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


class Stage(StrEnum):
    """Where a version stands: in use, the latest that was not promoted, or neither."""

    CHAMPION = CHAMPION
    CANDIDATE = CANDIDATE
    ARCHIVED = "archived"


@dataclass(frozen=True)
class Candidate:
    """A model to register. The same `key` (see `idempotency_key`) means the same version.

    `metrics` are those on the validation rows, `test_metrics` those on the held-out rows of the
    data that `data_hash` names; `reason` is the gate's. `seeds` says of the rows' split, the search
    and the training what they started from; `run` is the pipeline run that made it.
    """

    name: str
    key: str
    model_sha256: str
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
        """Return what `to_json` wrote; fields of later versions are passed over."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


@dataclass(frozen=True)
class ModelRecord(Candidate):
    """A registered version: what was handed in, and what the registry added."""

    version: int = field(kw_only=True)
    created: str = field(kw_only=True)
    model_uri: str = field(kw_only=True)
    stage: Stage = field(kw_only=True)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote; fields of later versions are passed over."""
        return super().from_json({**data, "stage": Stage(data["stage"])})


class EventKind(StrEnum):
    """What can happen to a version."""

    REGISTERED = "registered"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True)
class Event:
    """One line of a model's history; of a roll-back, `version` is the champion it brought back."""

    version: int
    kind: EventKind
    time: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def champions(events: Sequence[Event]) -> list[int]:
    """Return the champions that roll-backs would go through, the present one last."""
    line: list[int] = []
    for event in events:
        if event.kind is EventKind.PROMOTED:
            line.append(event.version)
        elif event.kind is EventKind.ROLLED_BACK:
            line.pop()
    return line


def before(name: str, line: Sequence[int]) -> int:
    """Return the champion that a roll-back makes champion again.

    Raises:
        RegistryError: there was none before the present one.
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
    """Check what a registry cannot keep.

    Raises:
        RegistryError: the name is no name, or a metric no number.
    """
    if not NAME.fullmatch(candidate.name):
        raise RegistryError(
            f"model name: must be 1 to 63 of a-z, 0-9, '.', '_', '-', with a letter or digit at "
            f"both ends, got {candidate.name!r}"
        )
    try:
        json.dumps(candidate.to_json(), allow_nan=False)
    except ValueError as error:
        raise RegistryError(f"{candidate.name}: metrics must be finite, got: {error}") from error


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def local_path(uri: str) -> Path:
    """Return the path of a file:// URI.

    Raises:
        RegistryError: it is another kind of URI, or of another machine.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise RegistryError(f"registry: must be file:///PATH, of this machine, got {uri!r}")
    return Path(unquote(parts.path))


def idempotency_key(experiment_identity: str, trial: str, model_sha256: str) -> str:
    """Return the key that is the same whenever the same trial's same model is registered."""
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
        raise RegistryError(f"{folder}: must be a folder with a model in it, got nothing there")
    return total.hexdigest()
