"""The registry of one machine or shared disk: a folder with SQLite and a copy of each model.

`NAME/VERSION/` holds the model, database.py the rest. A version exists when its row does; its
folder is in place before, so an interrupted registration leaves at most a folder without a row,
which the next registration of that model removes. It does not know when to promote (gate.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry import database
from hpo_pipeline.registry.record import (
    ALIASES,
    CANDIDATE,
    CHAMPION,
    Candidate,
    Event,
    EventKind,
    ModelRecord,
    Stage,
    folder_sha256,
)

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
DRAFT = ".draft"


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class DirectoryRegistry:
    """The `Registry` in a folder, which is made when the first model is registered."""

    def __init__(self, folder: Path, *, now: Callable[[], str] = utc_now) -> None:
        self._folder = folder
        self._now = now

    def register(self, candidate: Candidate, model_folder: Path) -> ModelRecord:
        _check_name(candidate.name)
        content = _content(candidate)
        # Says what is wrong with the folder before anything is written.
        folder_sha256(model_folder)
        home = self._folder / candidate.name
        with self._alone(home):
            version = self._version_of(candidate)
            target = home / str(version or self._next_version(candidate.name))
            if version is None or not target.is_dir():
                _place(model_folder, target, expected=candidate.model_sha256)
            if version is None:
                version = self._insert(candidate, content)
        return self.get(candidate.name, version)

    def promote(self, name: str, version: int, *, expected: int | None, reason: str) -> bool:
        self.get(name, version)
        self._check_folder(name, version)
        with database.writing(self._folder) as connection:
            champion = database.alias(connection, name, CHAMPION)
            if champion == version:
                return True
            if champion != expected:
                return False
            connection.execute(
                "DELETE FROM aliases WHERE name = ? AND alias = ? AND version = ?",
                (name, CANDIDATE, version),
            )
            database.point(connection, name, CHAMPION, version)
            database.note(connection, name, Event(version, EventKind.PROMOTED, self._now(), reason))
        return True

    def rollback(self, name: str, *, reason: str = "asked for by hand") -> ModelRecord:
        self._check_known(name)
        with database.writing(self._folder) as connection:
            line = _line_of_champions(database.events(connection, name))
            if len(line) < 2:
                now = f"version {line[0]} is the first" if line else "there is no champion"
                raise RegistryError(f"{name}: must have had a champion before this one, got: {now}")
            version = line[-2]
            self._check_folder(name, version)
            database.point(connection, name, CHAMPION, version)
            database.note(
                connection, name, Event(version, EventKind.ROLLED_BACK, self._now(), reason)
            )
        return self.get(name, version)

    def champion(self, name: str) -> ModelRecord | None:
        return next((r for r in self._records(name) if r.stage is Stage.CHAMPION), None)

    def get(self, name: str, version: int | str) -> ModelRecord:
        records = self.versions(name)
        for record in records:
            is_alias = version in ALIASES and version == record.stage
            if is_alias or str(version) == str(record.version):
                return record
        have = ", ".join(str(r.version) for r in records)
        aliases = " or ".join(ALIASES)
        raise RegistryError(f"{name}: version must be one of {have}, or {aliases}, got {version!r}")

    def versions(self, name: str) -> list[ModelRecord]:
        self._check_known(name)
        return self._records(name)

    def names(self) -> list[str]:
        with database.reading(self._folder) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM models ORDER BY name")]

    def history(self, name: str) -> list[Event]:
        self._check_known(name)
        with database.reading(self._folder) as connection:
            return database.events(connection, name)

    def _records(self, name: str) -> list[ModelRecord]:
        with database.reading(self._folder) as connection:
            aliases = {database.alias(connection, name, alias): Stage(alias) for alias in ALIASES}
            rows = connection.execute(
                "SELECT version, created, candidate FROM versions WHERE name = ? ORDER BY version",
                (name,),
            ).fetchall()
        return [
            ModelRecord(
                **Candidate.from_json(json.loads(candidate)).to_json(),
                version=version,
                created=created,
                # Made when asked for, so that the folder can be moved.
                model_uri=(self._folder / name / str(version)).resolve().as_uri(),
                stage=aliases.get(version, Stage.ARCHIVED),
            )
            for version, created, candidate in rows
        ]

    def _check_known(self, name: str) -> None:
        names = self.names()
        if name not in names:
            have = ", ".join(names) or "none"
            raise RegistryError(f"{self._folder}: no model of this name, got {name!r}, have {have}")

    def _check_folder(self, name: str, version: int) -> None:
        folder = self._folder / name / str(version)
        if not folder.is_dir():
            raise RegistryError(f"{folder}: the version's model must be there, got no such folder")

    @contextmanager
    def _alone(self, home: Path) -> Iterator[None]:
        """Let one process at a time register under a name; a dead one holds no lock."""
        try:
            home.mkdir(parents=True, exist_ok=True)
            with (home / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise RegistryError(f"{home}: must be writable, got: {error}") from error

    def _version_of(self, candidate: Candidate) -> int | None:
        records = self._records(candidate.name)
        return next((r.version for r in records if r.key == candidate.key), None)

    def _next_version(self, name: str) -> int:
        return max((r.version for r in self._records(name)), default=0) + 1

    def _insert(self, candidate: Candidate, content: str) -> int:
        name, now, version = candidate.name, self._now(), self._next_version(candidate.name)
        with database.writing(self._folder) as connection:
            connection.execute("INSERT OR IGNORE INTO models VALUES (?, ?)", (name, now))
            connection.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?)",
                (name, version, candidate.key, now, content),
            )
            database.point(connection, name, CANDIDATE, version)
            event = Event(version, EventKind.REGISTERED, now, candidate.reason)
            database.note(connection, name, event)
        return version


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name.startswith(database.FILE):
        raise RegistryError(
            f"model name: must be 1 to 63 of a-z, 0-9, '.', '_', '-', with a letter or digit at "
            f"both ends, and not {database.FILE}, got {name!r}"
        )


def _content(candidate: Candidate) -> str:
    try:
        return json.dumps(candidate.to_json(), allow_nan=False)
    except ValueError as error:
        raise RegistryError(f"{candidate.name}: metrics must be finite, got: {error}") from error


def _place(model_folder: Path, target: Path, *, expected: str) -> None:
    """Copy a model so that `target` is there whole or not at all."""
    draft = target.parent / DRAFT
    for left in (draft, target):
        if left.exists():
            shutil.rmtree(left)
    try:
        shutil.copytree(model_folder, draft)
        for path in (*draft.rglob("*"), draft):
            _to_disk(path)
        found = folder_sha256(draft)
        if found != expected:
            raise RegistryError(
                f"{model_folder}: sha256 must be {expected}, got {found}; the model has changed"
            )
        draft.rename(target)
        _to_disk(target.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line_of_champions(events: list[Event]) -> list[int]:
    """Return the champions that roll-backs would go through, the present one last."""
    line: list[int] = []
    for event in events:
        if event.kind is EventKind.PROMOTED:
            line.append(event.version)
        elif event.kind is EventKind.ROLLED_BACK:
            line.pop()
    return line
