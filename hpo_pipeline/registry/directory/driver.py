"""The registry of one machine or shared disk: a folder with SQLite and a copy of each model.

`NAME/VERSION/` holds the model, database.py the rest. A version exists when its row does. Its
folder is complete before that, so an interrupted registration leaves at most a folder without a
row, which the next registration of that model removes. It does not know when to promote (gate.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from hpo_pipeline.errors import ModelFilesError, RegistryError
from hpo_pipeline.registry.directory import database
from hpo_pipeline.registry.interfaces import Access
from hpo_pipeline.registry.model_folders import (
    alone,
    check_sha256,
    check_writable,
    place,
)
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
    check_name,
    find,
    folder_sha256,
    local_path,
    read_candidate,
    utc_now,
)


class DirectoryRegistry:
    """The `Registry` in a folder, which is created when the first model is registered."""

    def __init__(self, folder: Path, *, now: Callable[[], str] = utc_now) -> None:
        self._folder = folder
        self._now = now

    def register(self, candidate: Candidate, model_folder: Path) -> ModelRecord:
        _check(candidate)
        # Reports a missing or empty folder before anything is written.
        folder_sha256(model_folder)
        home = self._folder / candidate.name
        with alone(home):
            known = self._known(candidate)
            if known is not None:
                return (
                    known if self._is_whole(known) else self._mend(known, candidate, model_folder)
                )
            target = home / str(self._next_version(candidate.name))
            place(model_folder, target, expected=candidate.model_sha256)
            version = self._insert(candidate)
        return self.get(candidate.name, version)

    def promote(self, name: str, version: int, *, expected: int | None, reason: str) -> bool:
        self._check_files(self.get(name, version))
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
        known = {record.version: record for record in self.versions(name)}
        with database.writing(self._folder) as connection:
            version = before(name, champions(database.events(connection, name)))
            self._check_files(known[version])
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
            names = [
                name for (name,) in connection.execute("SELECT name FROM models ORDER BY name")
            ]
        for name in names:
            # Folders are named by them, and the file may be a stranger's.
            check_name(str(name))
        return names

    def history(self, name: str) -> list[Event]:
        self._check_known(name)
        with database.reading(self._folder) as connection:
            return database.events(connection, name)

    def fetch(self, record: ModelRecord, folder: Path) -> Path:
        return self._check_files(record)

    def _records(self, name: str) -> list[ModelRecord]:
        with database.reading(self._folder) as connection:
            aliases = {database.alias(connection, name, alias): Stage(alias) for alias in ALIASES}
            rows = connection.execute(
                "SELECT version, created, candidate FROM versions WHERE name = ? ORDER BY version",
                (name,),
            ).fetchall()
        return [self._record(name, *row, stages=aliases) for row in rows]

    def _record(
        self,
        name: str,
        version: int,
        created: str,
        text: str,
        *,
        stages: Mapping[int | None, Stage],
    ) -> ModelRecord:
        database.check_row(name, version=version, texts=(created, text))
        where = f"{self._folder / database.FILE}: {name} version {version}"
        candidate = read_candidate(text, where=where)
        return ModelRecord(
            # The row says which version it is; the JSON may be another's.
            **replace(candidate, name=name).to_json(),
            version=version,
            created=created,
            # Made when asked for, so that the folder can be moved.
            model_uri=(self._folder / name / str(version)).resolve().as_uri(),
            stage=stages.get(version, Stage.ARCHIVED),
        )

    def _check_known(self, name: str) -> None:
        names = self.names()
        if name not in names:
            have = ", ".join(names) or "none"
            raise RegistryError(f"{self._folder}: no model of this name, got {name!r}, have {have}")

    def _check_files(self, record: ModelRecord) -> Path:
        """Return the folder of a version, whose files are those that were registered."""
        check_name(record.name)
        folder = self._folder / record.name / str(record.version)
        if not folder.is_dir():
            raise ModelFilesError(
                f"{folder}: the model of this version must be there, got no such folder"
            )
        check_sha256(folder, record.model_sha256, named=folder)
        return folder

    def _known(self, candidate: Candidate) -> ModelRecord | None:
        records = self._records(candidate.name)
        return next((record for record in records if record.key == candidate.key), None)

    def _is_whole(self, record: ModelRecord) -> bool:
        try:
            self._check_files(record)
        except ModelFilesError:
            return False
        return True

    def _mend(self, record: ModelRecord, candidate: Candidate, model_folder: Path) -> ModelRecord:
        """Copy the files of a version again, whose key says that the weights are the same."""
        name, version, sha256 = record.name, record.version, candidate.model_sha256
        place(model_folder, self._folder / name / str(version), expected=sha256)
        same = Candidate.from_json({**record.to_json(), "model_sha256": sha256})
        with database.writing(self._folder) as connection:
            connection.execute(
                "UPDATE versions SET candidate = ? WHERE name = ? AND version = ?",
                (json.dumps(same.to_json()), name, version),
            )
        return self.get(name, version)

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


class FolderDriver:
    """The `Driver` of folders: a path, or `file:///PATH`."""

    form = "a folder or file:///PATH"

    def open(self, uri: str, access: Access) -> DirectoryRegistry:
        return DirectoryRegistry(self._path(uri))

    def check(self, uri: str) -> None:
        self._path(uri)

    def preflight(self, uri: str, access: Access, *, elsewhere: bool) -> None:
        if not elsewhere:
            check_writable(self._path(uri))
            self.open(uri, access).names()

    @staticmethod
    def _path(uri: str) -> Path:
        try:
            return local_path(uri) if "://" in uri else Path(uri).expanduser()
        except RuntimeError as error:
            raise RegistryError(f"{uri}: {error}") from error


FOLDER = FolderDriver()


def _check(candidate: Candidate) -> None:
    check(candidate)
    if candidate.name.startswith(database.FILE):
        raise RegistryError(f"model name: must not be {database.FILE}, got {candidate.name!r}")
