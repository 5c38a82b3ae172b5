"""What a server keeps of a model as numbered entries, and what they say together.

A server has no transactions to offer, but can refuse a second entry of the same number. So the
entries are the truth, and whoever wants to add one must have read all before it. Everything here
is pure; served.py adds entries, and a server's own aliases and tags only follow them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

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
    """The files of a candidate, stored whole, that are to become the version of its key."""

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
    """A model, as its entries tell it."""

    texts: tuple[str, ...] = ()
    claims: Mapping[str, Claim] = field(default_factory=dict)
    published: Mapping[str, Published] = field(default_factory=dict)
    events: Sequence[Event] = ()
    candidate: int | None = None

    @property
    def size(self) -> int:
        """How many entries there are; the next one's number is one more."""
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
        """Return what entries say; kinds that later versions write are passed over."""
        claims: dict[str, Claim] = {}
        published: dict[str, Published] = {}
        events: list[Event] = []
        candidate: int | None = None
        for entry in map(json.loads, texts):
            match entry["kind"]:
                case "claimed":
                    found = Candidate.from_json(entry["candidate"])
                    claims.setdefault(found.key, Claim(entry["location"], found))
                case EventKind.REGISTERED:
                    candidate = entry["version"]
                    key, uri, time = entry["key"], entry["uri"], entry["time"]
                    published[key] = Published(entry["version"], key, uri, time)
                    events.append(_event(entry))
                case EventKind.PROMOTED | EventKind.ROLLED_BACK:
                    is_promotion = entry["kind"] == EventKind.PROMOTED
                    if is_promotion and entry["version"] == candidate:
                        candidate = None
                    events.append(_event(entry))
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


def _event(entry: Mapping[str, Any]) -> Event:
    return Event(entry["version"], EventKind(entry["kind"]), entry["time"], entry["reason"])
