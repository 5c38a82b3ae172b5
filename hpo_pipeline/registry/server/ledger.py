"""What a server keeps of a model as numbered entries, and what they say together.

A server offers no transactions, but can refuse a second entry with the same number. So the entries
are the truth, and a writer must have read all earlier entries before it adds one. Everything here
is pure; driver.py adds entries, and a server's own aliases and tags only follow them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from hpo_pipeline.errors import RegistryError
from hpo_pipeline.registry.record import (
    Candidate,
    Event,
    EventKind,
    ModelRecord,
    Stage,
    champions,
)

CLAIMED = "claimed"
LONGEST_REASON = 2000


@dataclass(frozen=True)
class Claim:
    """The files of a candidate, stored completely, which will become the version of its key."""

    location: str
    candidate: Candidate


@dataclass(frozen=True)
class Published:
    """A claim that became a version."""

    version: int
    key: str
    uri: str
    created: str


@dataclass(frozen=True)
class Ledger:
    """What the entries of one model say together."""

    texts: tuple[str, ...] = ()
    claims: Mapping[str, Claim] = field(default_factory=dict)
    published: Mapping[str, Published] = field(default_factory=dict)
    events: Sequence[Event] = ()
    candidate: int | None = None

    @property
    def size(self) -> int:
        """The number of entries; the next entry gets this number plus one."""
        return len(self.texts)

    def plus(self, text: str) -> Self:
        """Return the ledger with one more entry."""
        return self.read((*self.texts, text))

    @property
    def champion(self) -> int | None:
        """The version that is in use."""
        line = champions(self.events)
        return line[-1] if line else None

    @property
    def pointers(self) -> tuple[int | None, int | None]:
        """The versions that the aliases champion and candidate name."""
        return self.champion, self.candidate

    def records(self) -> list[ModelRecord]:
        """Return the versions, oldest first."""
        champion, candidate = self.pointers
        stages = {champion: Stage.CHAMPION, candidate: Stage.CANDIDATE}
        return [
            ModelRecord(
                **self.claims[found.key].candidate.to_json(),
                version=found.version,
                created=found.created,
                model_uri=found.uri,
                stage=stages.get(found.version, Stage.ARCHIVED),
            )
            for found in sorted(self.published.values(), key=lambda found: found.version)
        ]

    @classmethod
    def read(cls, texts: Sequence[str]) -> Self:
        """Return what entries say; kinds that later versions write are ignored.

        Raises:
            RegistryError: an entry is not one that hpo-pipeline writes.
        """
        claims: dict[str, Claim] = {}
        published: dict[str, Published] = {}
        events: list[Event] = []
        candidate: int | None = None
        for number, text in enumerate(texts, start=1):
            entry = _entry(text, number)
            match entry.get("kind"):
                case "claimed":
                    found = _candidate(entry, number)
                    claims.setdefault(found.key, Claim(entry["location"], found))
                case EventKind.REGISTERED:
                    found_version = _published(entry, claims, number)
                    candidate = found_version.version
                    published[found_version.key] = found_version
                    events.append(_event(entry, number))
                case EventKind.PROMOTED | EventKind.ROLLED_BACK:
                    is_promotion = entry["kind"] == EventKind.PROMOTED
                    if is_promotion and entry.get("version") == candidate:
                        candidate = None
                    events.append(_event(entry, number))
        return cls(tuple(texts), claims, published, events, candidate)


def claimed(claim: Claim, time: str) -> str:
    """Return the entry of a claim."""
    content = {"location": claim.location, "candidate": claim.candidate.to_json()}
    return _text({"kind": CLAIMED, "time": time, **content})


def happened(event: Event, **content: str) -> str:
    """Return the entry of an event; of a registration with its `key` and `uri`."""
    reason = event.reason
    if len(reason) > LONGEST_REASON:
        reason = reason[: LONGEST_REASON - 1] + "…"
    return _text({**event.to_json(), "reason": reason, **content})


def _text(entry: dict[str, Any]) -> str:
    # The id makes every entry another one, so that a writer recognises its own when a server
    # answered a request that was sent twice because the first answer was lost.
    return json.dumps({"id": uuid.uuid4().hex, **entry}, ensure_ascii=False)


def _entry(text: str, number: int) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(number, f"no JSON: {error}") from error
    if not isinstance(entry, dict):
        raise _damaged(number, f"no object: {entry!r:.80}")
    return entry


def _candidate(entry: Mapping[str, Any], number: int) -> Candidate:
    _check_types(entry, number, location=str, candidate=dict)
    try:
        return Candidate.from_json(entry["candidate"])
    except RegistryError as error:
        raise _damaged(number, str(error)) from error


def _published(entry: Mapping[str, Any], claims: Mapping[str, Claim], number: int) -> Published:
    _check_types(entry, number, version=int, key=str, uri=str, time=str)
    if entry["key"] not in claims:
        raise _damaged(number, "a version that no entry before it claims")
    return Published(entry["version"], entry["key"], entry["uri"], entry["time"])


def _event(entry: Mapping[str, Any], number: int) -> Event:
    _check_types(entry, number, version=int, time=str, reason=str)
    return Event(entry["version"], EventKind(entry["kind"]), entry["time"], entry["reason"])


def _check_types(entry: Mapping[str, Any], number: int, **wanted: type) -> None:
    for name, kind in wanted.items():
        value = entry.get(name)
        if type(value) is not kind or value == 0:
            raise _damaged(number, f"{name} {value!r:.80}")


def _damaged(number: int, found: str) -> RegistryError:
    return RegistryError(
        f"entry {number} of the history must be one that hpo-pipeline wrote, got {found}; "
        f"restore the server's database from a backup"
    )
