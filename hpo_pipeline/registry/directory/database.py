"""The SQLite file of the directory registry: its tables, and one transaction at a time.

It knows rows, not model folders. A connection lives as long as a transaction, so that threads
and forked processes never share one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.record import Event, EventKind

FILE = "registry.sqlite"
BUSY_SECONDS = 30.0
SCHEMA_VERSION = 1
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS models (name TEXT PRIMARY KEY, created TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS versions (name TEXT NOT NULL REFERENCES models, "
    "version INTEGER NOT NULL, key TEXT NOT NULL, created TEXT NOT NULL, candidate TEXT NOT NULL, "
    "PRIMARY KEY (name, version), UNIQUE (name, key))",
    "CREATE TABLE IF NOT EXISTS aliases (name TEXT NOT NULL, alias TEXT NOT NULL, "
    "version INTEGER NOT NULL, PRIMARY KEY (name, alias), "
    "FOREIGN KEY (name, version) REFERENCES versions)",
    "CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, name TEXT NOT NULL, "
    "version INTEGER NOT NULL, kind TEXT NOT NULL, time TEXT NOT NULL, reason TEXT NOT NULL, "
    "FOREIGN KEY (name, version) REFERENCES versions)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_RESTORE = "the file is damaged; restore it from a backup"
_HINTS = {
    sqlite3.SQLITE_NOTADB: "it is not a registry, or is damaged; restore it from a backup",
    sqlite3.SQLITE_CORRUPT: _RESTORE,
    sqlite3.SQLITE_READONLY: "the folder and the file must be writable",
    sqlite3.SQLITE_CANTOPEN: "the folder must exist and be accessible",
    sqlite3.SQLITE_BUSY: f"another process held it for {BUSY_SECONDS:.0f} seconds",
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then run the same command again",
}


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a snapshot of the database; where there is none yet, an empty one in memory.

    Raises:
        RegistryError: the file cannot be read.
    """
    file = folder / FILE
    with _translated(file), closing(_open_to_read(file)) as connection:
        connection.execute("BEGIN")
        yield connection


@contextmanager
def writing(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a transaction that excludes other writers; an exception rolls it back.

    Raises:
        RegistryError: the file cannot be written.
    """
    file = folder / FILE
    with _translated(file):
        folder.mkdir(parents=True, exist_ok=True)
        opened = sqlite3.connect(file, BUSY_SECONDS, isolation_level=None)
        with closing(opened) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            try:
                _check_version(connection, file)
                _create(connection)
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def alias(connection: sqlite3.Connection, name: str, alias: str) -> int | None:
    """Return the version that an alias points to, or None."""
    row = connection.execute(
        "SELECT version FROM aliases WHERE name = ? AND alias = ?", (name, alias)
    ).fetchone()
    return row[0] if row else None


def point(connection: sqlite3.Connection, name: str, alias: str, version: int) -> None:
    """Make an alias point to one version."""
    connection.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (name, alias, version))


def note(connection: sqlite3.Connection, name: str, event: Event) -> None:
    """Add an event to a model's history."""
    connection.execute(
        "INSERT INTO history (name, version, kind, time, reason) VALUES (?, ?, ?, ?, ?)",
        (name, event.version, event.kind.value, event.time, event.reason),
    )


def events(connection: sqlite3.Connection, name: str) -> list[Event]:
    """Return a model's history, oldest first; kinds that later versions write are ignored.

    Raises:
        RegistryError: a row is not one that hpo-pipeline wrote.
    """
    rows = connection.execute(
        "SELECT version, kind, time, reason FROM history WHERE name = ? ORDER BY id", (name,)
    )
    known = [row for row in rows if row[1] in tuple(EventKind)]
    for version, _, time, reason in known:
        check_row(name, version=version, texts=(time, reason))
    return [Event(version, EventKind(kind), time, reason) for version, kind, time, reason in known]


def check_row(name: str, *, version: object, texts: Sequence[object]) -> None:
    """Check the types of a row: SQLite stores any type in any column.

    Raises:
        RegistryError: the version is not a number from 1, or another column not a text.
    """
    if type(version) is not int or version < 1:
        raise RegistryError(
            f"{name}: a version must be a number from 1, got {version!r:.80}; {_RESTORE}"
        )
    for text in texts:
        if not isinstance(text, str):
            raise RegistryError(
                f"{name} version {version}: must be a text, got {text!r:.80}; {_RESTORE}"
            )


def _open_to_read(file: Path) -> sqlite3.Connection:
    if file.exists():
        # Not mode=ro: what a killed writer left must be rolled back before reading. SQLite opens
        # a write-protected file for reading only.
        uri = f"{file.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, BUSY_SECONDS, isolation_level=None, uri=True)
        try:
            if _check_version(connection, file):
                return connection
        except BaseException:
            connection.close()
            raise
        # Version 0: the first writer has not committed yet, or never did.
        connection.close()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _create(connection)
    return connection


def _create(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA:
        connection.execute(statement)


def _check_version(connection: sqlite3.Connection, file: Path) -> int:
    found: int
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA_VERSION:
        raise RegistryError(
            f"{file}: schema version must be at most {SCHEMA_VERSION}, got {found}; "
            f"it was written by a later hpo-pipeline"
        )
    return found


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        # The low byte is the kind of error, the rest its details. Errors of the sqlite3 module
        # itself have no code.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        hint = _HINTS.get(code, "the file may be damaged")
        raise RegistryError(f"{file}: must be a usable registry, got: {error}; {hint}") from error
    except OSError as error:
        raise RegistryError(f"{file}: must be a usable registry, got: {error}") from error
