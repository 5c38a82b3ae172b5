"""The registry on a server: the protocol over an `EntryStore`, the door to one kind of server.

To register: store all files, claim the key with an entry that names them, make the server's version
of the claim, record that version with a second entry. A process that finds the claim of a dead one
completes it. A promotion is one entry. The only thing asked of a server is that it accepts one
entry per number, however many processes send one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.model_folders import check_sha256
from hpo_pipeline.registry.record import (
    Candidate,
    Event,
    EventKind,
    ModelRecord,
    before,
    champions,
    check,
    check_name,
    find,
    folder_sha256,
    utc_now,
)
from hpo_pipeline.registry.server.ledger import Claim, Ledger, claimed, happened

ATTEMPTS = 200
POLL_SECONDS = 0.2
LISTED = 20


class EntryStore(Protocol):
    """The door to a server. Every method raises RegistryError where the server fails.

    `name` is how messages refer to it. `patience` is the number of seconds for which a claim is
    left to the process that made it, where two processes at once would make two versions of it.
    """

    name: str
    patience: float

    def names(self) -> list[str]:
        """Return the names of the models with versions that hpo-pipeline registered."""

    def entries(self, model: str) -> list[str]:
        """Return the entries of a model in their order; none where there is no such model."""

    def append(self, model: str, number: int, entry: str) -> bool:
        """Add an entry unless another has that number; create the model where it is missing.

        Returns False where another entry has that number.
        """

    def store(self, candidate: Candidate, folder: Path) -> str:
        """Store the files of a model and return where; after a crash they may stay there unused."""

    def discard(self, location: str) -> None:
        """Remove stored files that will not be claimed, unless another version may use them."""

    def publish(self, claim: Claim) -> tuple[int, str]:
        """Make the server's version of a claim, or find it; return number and model URI."""

    def tidy(self, claim: Claim, version: int) -> None:
        """Remove duplicates that other processes made for a claim that became this version."""

    def point(self, model: str, champion: int | None, candidate: int | None) -> None:
        """Set the server's own aliases to these versions."""

    def has(self, model: str, version: int) -> bool:
        """Return whether the server still has a version."""

    def download(self, claim: Claim, folder: Path) -> Path:
        """Return a folder with the files of a claim: the stored one, or a copy in `folder`."""


class ServedRegistry:
    """The `Registry` on a server."""

    def __init__(self, place: EntryStore, *, now: Callable[[], str] = utc_now) -> None:
        self._place = place
        self._now = now

    def register(self, candidate: Candidate, model_folder: Path) -> ModelRecord:
        check(candidate)
        # Reports a missing or empty folder before anything is written.
        folder_sha256(model_folder)
        ledger = self._ledger(candidate.name)
        claim, is_own = ledger.claims.get(candidate.key), False
        if claim is None:
            claim, is_own = self._claim(candidate, model_folder)
        version = self._publish(claim, is_own=is_own)
        self._place.tidy(claim, version)
        self._settle(candidate.name)
        return self.get(candidate.name, version)

    def promote(self, name: str, version: int, *, expected: int | None, reason: str) -> bool:
        self.get(name, version)
        self._check_version(name, version)

        def entry(ledger: Ledger) -> str | None:
            if ledger.champion != expected or ledger.champion == version:
                return None
            return happened(Event(version, EventKind.PROMOTED, self._now(), reason))

        ledger, is_added = self._append(name, entry)
        self._settle(name)
        return is_added or ledger.champion == version

    def rollback(self, name: str, *, reason: str = "asked for by hand") -> ModelRecord:
        self._known(name)

        def entry(ledger: Ledger) -> str:
            version = before(name, champions(ledger.events))
            self._check_version(name, version)
            return happened(Event(version, EventKind.ROLLED_BACK, self._now(), reason))

        ledger, _ = self._append(name, entry)
        self._settle(name)
        return find(name, ledger.records(), ledger.champion or 0)

    def champion(self, name: str) -> ModelRecord | None:
        ledger = self._ledger(name)
        return next((r for r in ledger.records() if r.version == ledger.champion), None)

    def get(self, name: str, version: int | str) -> ModelRecord:
        return find(name, self.versions(name), version)

    def versions(self, name: str) -> list[ModelRecord]:
        return self._known(name).records()

    def names(self) -> list[str]:
        return sorted(self._place.names())

    def history(self, name: str) -> list[Event]:
        return list(self._known(name).events)

    def fetch(self, record: ModelRecord, folder: Path) -> Path:
        claim = self._known(record.name).claims.get(record.key)
        if claim is None:
            raise RegistryError(
                f"{self._place.name}: has no version of {record.name} with the key {record.key}"
            )
        found = self._place.download(claim, folder)
        named = f"{self._place.name}: the files of {record.name} version {record.version}"
        check_sha256(found, record.model_sha256, named=named)
        return found

    def _ledger(self, name: str) -> Ledger:
        check_name(name)
        entries = self._place.entries(name)
        try:
            return Ledger.read(entries)
        except RegistryError as error:
            raise RegistryError(f"{self._place.name}: {name}: {error}") from error

    def _known(self, name: str) -> Ledger:
        ledger = self._ledger(name)
        if not ledger.published:
            names = self.names()
            have = ", ".join(names[:LISTED]) or "none"
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            raise RegistryError(
                f"{self._place.name}: no model of this name, got {name!r}, have {have}{more}"
            )
        return ledger

    def _check_version(self, name: str, version: int) -> None:
        if not self._place.has(name, version):
            raise RegistryError(
                f"{self._place.name}: {name} version {version} must be there, got none; "
                f"it was deleted on the server"
            )

    def _append(self, name: str, entry: Callable[[Ledger], str | None]) -> tuple[Ledger, bool]:
        """Add the entry that a ledger calls for, if any; return the ledger, and whether it grew."""
        for _ in range(ATTEMPTS):
            ledger = self._ledger(name)
            text = entry(ledger)
            if text is None:
                return ledger, False
            # A refusal means that another process made progress, so together they always do.
            if self._place.append(name, ledger.size + 1, text):
                return ledger.plus(text), True
        raise RegistryError(
            f"{self._place.name}: {name} was changed {ATTEMPTS} times by others meanwhile; "
            f"try again"
        )

    def _claim(self, candidate: Candidate, model_folder: Path) -> tuple[Claim, bool]:
        """Store the files and claim them; of several claims to a key the first one counts."""
        name, key = candidate.name, candidate.key
        check_sha256(model_folder, candidate.model_sha256, named=model_folder)
        try:
            own = Claim(self._place.store(candidate, model_folder), candidate)
        except RegistryError:
            # A faster process may have removed these files as duplicates.
            if (found := self._ledger(name).claims.get(key)) is None:
                raise
            return found, False

        def entry(ledger: Ledger) -> str | None:
            return None if key in ledger.claims else claimed(own, self._now())

        found = self._append(name, entry)[0].claims[key]
        if found.location != own.location:
            self._place.discard(own.location)
        return found, found.location == own.location

    def _publish(self, claim: Claim, *, is_own: bool) -> int:
        name, key = claim.candidate.name, claim.candidate.key
        ledger = self._ledger(name) if is_own else self._wait(name, key)
        if key not in ledger.published:
            version, uri = self._place.publish(claim)

            def entry(ledger: Ledger) -> str | None:
                if key in ledger.published:
                    return None
                reason = claim.candidate.reason
                event = Event(version, EventKind.REGISTERED, self._now(), reason)
                return happened(event, key=key, uri=uri)

            ledger, _ = self._append(name, entry)
        return ledger.published[key].version

    def _wait(self, name: str, key: str) -> Ledger:
        """Wait for the process that made a claim, for as long as `patience` says."""
        end = time.monotonic() + self._place.patience
        ledger = self._ledger(name)
        while key not in ledger.published and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
            ledger = self._ledger(name)
        return ledger

    def _settle(self, name: str) -> None:
        """Set the server's aliases to what the entries say.

        A writer reads the entries again after it has set the aliases, so the last writer leaves
        them right, in whatever order requests arrive; after a crash the next change repairs them.
        """
        pointers = self._ledger(name).pointers
        for _ in range(ATTEMPTS):
            self._place.point(name, *pointers)
            now = self._ledger(name).pointers
            if now == pointers:
                return
            pointers = now
