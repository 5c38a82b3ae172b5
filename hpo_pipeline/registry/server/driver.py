"""The registry on a server: the protocol over a `EntryStore`, the door to one kind of server.

Registering: store the files whole, claim the key with an entry that names them, make the server's
version of the claim, record it with a second entry. Whoever comes to a claim that a dead process
left carries it on. Promoting is one entry. The only thing asked of a server is that it accepts
one entry of a number, however many processes bring one.
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

    `name` is what messages call it. `patience` is for how many seconds a claim is left to the
    process that made it, where two at once would make two versions of it.
    """

    name: str
    patience: float

    def names(self) -> list[str]:
        """Return the names of the models that have versions of ours."""

    def entries(self, model: str) -> list[str]:
        """Return the entries of a model in their order; none of a model that is not there."""

    def append(self, model: str, number: int, entry: str) -> bool:
        """Add an entry, unless there is another of that number; the model is made if need be."""

    def store(self, candidate: Candidate, folder: Path) -> str:
        """Keep the files of a model and return where; after a crash they may lie in vain."""

    def discard(self, location: str) -> None:
        """Remove stored files that will not be claimed, where that harms nobody."""

    def publish(self, claim: Claim) -> tuple[int, str]:
        """Make the server's version of a claim, or find it; return number and model URI."""

    def tidy(self, claim: Claim, version: int) -> None:
        """Remove what others made in vain for the key of a claim that became this version."""

    def point(self, model: str, champion: int | None, candidate: int | None) -> None:
        """Make the server's own aliases name these versions."""

    def has(self, model: str, version: int) -> bool:
        """Tell whether the server still has a version."""

    def download(self, claim: Claim, folder: Path) -> Path:
        """Return a folder with the files of a claim: where they lie, or a copy in `folder`."""


class ServedRegistry:
    """The `Registry` on a server."""

    def __init__(self, place: EntryStore, *, now: Callable[[], str] = utc_now) -> None:
        self._place = place
        self._now = now

    def register(self, candidate: Candidate, model_folder: Path) -> ModelRecord:
        check(candidate)
        # Says what is wrong with the folder before anything is written.
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
        claim = self._known(record.name).claims[record.key]
        found = self._place.download(claim, folder)
        named = f"{self._place.name}: the files of {record.name} version {record.version}"
        check_sha256(found, record.model_sha256, named=named)
        return found

    def _ledger(self, name: str) -> Ledger:
        return Ledger.read(self._place.entries(name))

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
        """Add the entry that a ledger calls for, if any; return the ledger, and whether it did."""
        for _ in range(ATTEMPTS):
            ledger = self._ledger(name)
            text = entry(ledger)
            if text is None:
                return ledger, False
            # A refusal means that another process went on, so all together always do.
            if self._place.append(name, ledger.size + 1, text):
                return ledger.plus(text), True
        raise RegistryError(
            f"{self._place.name}: {name} must hold still for one change, got {ATTEMPTS} changes "
            f"by others meanwhile; try again"
        )

    def _claim(self, candidate: Candidate, model_folder: Path) -> tuple[Claim, bool]:
        """Store the files and claim them; of several claims of a key the first one counts."""
        name, key = candidate.name, candidate.key
        check_sha256(model_folder, candidate.model_sha256, named=model_folder)
        try:
            own = Claim(self._place.store(candidate, model_folder), candidate)
        except RegistryError:
            # A process that was faster may have tidied up under this one.
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
        """Let the process that made a claim finish, unless it is dead."""
        end = time.monotonic() + self._place.patience
        ledger = self._ledger(name)
        while key not in ledger.published and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
            ledger = self._ledger(name)
        return ledger

    def _settle(self, name: str) -> None:
        """Make the server's aliases follow the entries.

        Who changes them last has read the last entry afterwards, so they are right in the end
        whatever overtakes what; after a crash the next change or retry mends them.
        """
        pointers = self._ledger(name).pointers
        for _ in range(ATTEMPTS):
            self._place.point(name, *pointers)
            now = self._ledger(name).pointers
            if now == pointers:
                return
            pointers = now
