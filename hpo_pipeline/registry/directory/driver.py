"""The registry of one machine or shared disk: a folder with SQLite and a copy of each model.

`NAME/VERSION/` holds the model, database.py the rest. A version exists when its row does; its
folder is in place before, so an interrupted registration leaves at most a folder without a row,
which the next registration of that model removes. It does not know when to promote (gate.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.directory import database
from hpo_pipeline.registry.model_folders import alone, place
from hpo_pipeline.registry.record import (
    ALIASES,
    CANDIDATE,
    CHAMPION,
    Candidate,
    Event,
    EventKind,
    ModelRecord,
    Stage,
    before,
    champions,
    check,
    find,
    folder_sha256,
    utc_now,
)


class DirectoryRegistry:
    """The `Registry` in a folder, which is made when the first model is registered."""

    def __init__(self, folder: Path, *, now: Callable[[], str] = utc_now) -> None:
        self._folder = folder
        self._now = now

    def register(self, candidate: Candidate, model_folder: Path) -> ModelRecord:
        _check(candidate)
        # Says what is wrong with the folder before anything is written.
        folder_sha256(model_folder)
        home = self._folder / candidate.name
        with alone(home):
            version = self._version_of(candidate)
            target = home / str(version or self._next_version(candidate.name))
            if version is None or not target.is_dir():
                place(model_folder, target, expected=candidate.model_sha256)
            if version is None:
                version = self._insert(candidate)
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
            version = before(name, champions(database.events(connection, name)))
            self._check_folder(name, version)
            database.point(connection, name, CHAMPION, version)
            database.note(
                connection, name, Event(version, EventKind.ROLLED_BACK, self._now(), reason)
            )
        return self.get(name, version)

    def champion(self, name: str) -> ModelRecord | None:
        return next((r for r in self._records(name) if r.stage is Stage.CHAMPION), None)

    def get(self, name: str, version: int | str) -> ModelRecord:
        return find(name, self.versions(name), version)

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

    def fetch(self, record: ModelRecord, folder: Path) -> Path:
        self._check_folder(record.name, record.version)
        return self._folder / record.name / str(record.version)

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

    def _version_of(self, candidate: Candidate) -> int | None:
        records = self._records(candidate.name)
        return next((r.version for r in records if r.key == candidate.key), None)

    def _next_version(self, name: str) -> int:
        return max((r.version for r in self._records(name)), default=0) + 1

    def _insert(self, candidate: Candidate) -> int:
        name, now, version = candidate.name, self._now(), self._next_version(candidate.name)
        with database.writing(self._folder) as connection:
            connection.execute("INSERT OR IGNORE INTO models VALUES (?, ?)", (name, now))
            connection.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?)",
                (name, version, candidate.key, now, json.dumps(candidate.to_json())),
            )
            database.point(connection, name, CANDIDATE, version)
            event = Event(version, EventKind.REGISTERED, now, candidate.reason)
            database.note(connection, name, event)
        return version


def _check(candidate: Candidate) -> None:
    check(candidate)
    if candidate.name.startswith(database.FILE):
        raise RegistryError(f"model name: must not be {database.FILE}, got {candidate.name!r}")
