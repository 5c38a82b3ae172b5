"""What people ask of a run: a file for each request in its folder, and what the run answered.

The live page writes requests; the search loop takes them up, at once or when the run is resumed.
Only who may write to the run folder can ask. A request holds plain values and no path, and the
loop checks it again, whoever wrote it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hpo_pipeline.errors import RunFolderError
from hpo_pipeline.results.files import read_json, validated, write_json

Kind = Literal["stop", "again", "more", "next"]
ANSWERS = "answers.jsonl"
MOST_WAITING = 100
MOST_ADDED = 10_000
"""Trials that one request may add."""
KEPT_ANSWERS = 50
LONGEST_ANSWER = 500
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}")
_VALUES = 200
_LONGEST_VALUE = 300


@dataclass(frozen=True)
class Request:
    """What a person asks of a run.

    Attributes:
        kind: `stop` a trial, train one `again`, add `more` trials, or try values `next`.
        trial: the name of the trial to stop or to train again.
        count: how many trials to add.
        values: the configuration to try, each value as `experiment.space.render` writes it.
        id: its own name; ids sort by the time of the request.
    """

    kind: Kind
    trial: str | None = None
    count: int = 0
    values: Mapping[str, str] = field(default_factory=dict)
    id: str = ""

    def words(self) -> str:
        """Say what is asked for."""
        if self.kind == "more":
            return f"add {trials(self.count)}"
        if self.kind == "next":
            return "try " + ", ".join(f"{name}={text}" for name, text in self.values.items())
        return f"stop {self.trial}" if self.kind == "stop" else f"run {self.trial} again"


@dataclass(frozen=True)
class Answered:
    """A request that was taken up, and what the run said."""

    id: str
    asked: str
    said: str


def ask(requests: Path, request: Request) -> str:
    """Leave a request for the run, and return its id.

    Raises:
        ValueError: it is none that a run could take up, or too many wait already.
        OSError: the folder cannot be written.
    """
    if fault := _fault(request):
        raise ValueError(fault)
    if len(waiting(requests)) >= MOST_WAITING:
        raise ValueError(f"{MOST_WAITING} requests wait already; resume the run first")
    requests.mkdir(exist_ok=True)
    named = dataclasses.replace(request, id=f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}")
    write_json(requests / f"{named.id}.json", dataclasses.asdict(named))
    return named.id


def waiting(requests: Path) -> list[Request]:
    """Return the requests that no run has taken up yet, oldest first."""
    found = (_read(path) for path in _files(requests))
    return [request for request in found if request is not None]


def take(requests: Path) -> list[Request]:
    """Return the requests, oldest first, and forget them; a damaged one is dropped."""
    taken = []
    for path in _files(requests):
        request = _read(path)
        path.unlink(missing_ok=True)
        if request is not None:
            taken.append(request)
    return taken


def answer(requests: Path, request: Request, said: str) -> None:
    """Keep what the run says to a request, with its last answers."""
    requests.mkdir(exist_ok=True)
    found = [
        *answers(requests)[-KEPT_ANSWERS + 1 :],
        Answered(request.id, request.words(), said[:LONGEST_ANSWER]),
    ]
    draft = requests / f".{ANSWERS}"
    draft.write_text("".join(json.dumps(dataclasses.asdict(a)) + "\n" for a in found), "utf-8")
    draft.replace(requests / ANSWERS)


def answers(requests: Path) -> list[Answered]:
    """Return the last answers of the run, oldest first; what is damaged is left out."""
    path, found = requests / ANSWERS, []
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            found.append(validated(Answered, json.loads(line), path))
        except (ValueError, RunFolderError):
            continue
    return found


def trials(count: int) -> str:
    """Return a number of trials in words."""
    return "1 trial" if count == 1 else f"{count} trials"


def _fault(request: Request) -> str | None:
    if request.kind in ("stop", "again") and not _NAME.fullmatch(request.trial or ""):
        return f"no name of a trial: {request.trial!r:.80}"
    if request.kind == "more" and not 1 <= request.count <= MOST_ADDED:
        return f"1 to {MOST_ADDED} trials can be added at a time, got {request.count}"
    texts = [*request.values, *request.values.values()]
    if len(texts) > 2 * _VALUES or any(len(text) > _LONGEST_VALUE for text in texts):
        return f"at most {_VALUES} values of at most {_LONGEST_VALUE} characters"
    return None


def _files(requests: Path) -> list[Path]:
    return sorted(requests.glob("[0-9]*.json"))


def _read(path: Path) -> Request | None:
    try:
        data: dict[str, Any] = read_json(path)
        request = validated(Request, {**data, "id": path.stem}, path)
    except (FileNotFoundError, RunFolderError):
        return None
    return None if _fault(request) else request
