"""The checkpoint of a trial on disk: the newest whole one, from which the trial resumes.

    TRIAL/resume/step-120/         a whole checkpoint; only the newest stays
        checkpoint.json            what it belongs to, its files with sizes and checksums, the curve
        trainer_state.json, …      what training_state.py writes

A checkpoint is written under another name, synced, and renamed: a kill in the middle costs that
one only. Where pods share no file system it is copied to the storage as well. Nothing here knows
what a checkpoint holds.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpo_pipeline.data.storage import UriStorage
from hpo_pipeline.errors import DataError, RunFolderError
from hpo_pipeline.results.files import (
    RESUME_FOLDER,
    read_json,
    to_disk,
    validated_or_none,
    write_json,
)
from hpo_pipeline.results.trial import Point

logger = logging.getLogger(__name__)

RECORD_FILE = "checkpoint.json"
POINTER_FILE = "newest.json"
_WHOLE = re.compile(r"step-(\d+)")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Record:
    """What a trial had reached at a checkpoint, besides the state of its training.

    Attributes:
        key: of the configuration, seed, data and libraries that it belongs to.
        step: training steps that are done.
        curve: the evaluations so far.
        best_step: the `step` of the best of them.
        seconds: wall time by phase.
        environment: on what it was computed.
        shares: how many trainings on a share of the rows are over, whose points come first in the
            curve; `step` counts those of the training that goes on.
    """

    key: str
    step: int
    curve: tuple[Point, ...]
    best_step: int | None
    seconds: dict[str, float]
    environment: dict[str, str]
    shares: int = 0


@dataclass(frozen=True)
class Saved:
    """A whole checkpoint on this machine."""

    folder: Path
    record: Record


class Checkpoints:
    """The checkpoints of one trial.

    Args:
        trial: the folder of the trial.
        key: of what a checkpoint must belong to, so that it may be resumed.
        storage: where checkpoints are copied to, or None where the folder itself is lasting.
    """

    def __init__(self, trial: Path, key: str, storage: UriStorage | None = None) -> None:
        self._folder = trial / RESUME_FOLDER
        self.key = key
        self._storage = storage

    def newest(self) -> Saved | None:
        """Return the newest whole checkpoint of this trial; what else is there is removed."""
        if self._storage is not None:
            self._fetch(self._storage)
        found: Saved | None = None
        for place in sorted(self._whole(), key=_step, reverse=True):
            found = self._read(place)
            if found is not None:
                break
        self._keep_only(None if found is None else found.folder)
        return found

    def place(self, step: int) -> Path:
        """Return the folder of the checkpoint at a step."""
        return self._folder / f"step-{step}"

    def write(self, record: Record, fill: Callable[[Path], None]) -> bool:
        """Write a checkpoint; return whether it is there.

        Args:
            fill: writes the files into the folder that it is given.

        A full disk costs the checkpoint, never the trial: the one before stays.
        """
        # A pod on a node that is cut off may still run beside the one that replaced it.
        draft = self._folder / f".draft-{socket.gethostname()}-{os.getpid()}"
        place = self.place(record.step)
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            fill(draft)
            content = {"files": _summary(draft), "record": asdict(record)}
            write_json(draft / RECORD_FILE, content)
            shutil.rmtree(place, ignore_errors=True)
            draft.replace(place)
            to_disk(self._folder)
        # safetensors and torch raise errors of their own where the disk is full.
        except Exception as error:
            shutil.rmtree(draft, ignore_errors=True)
            logger.warning("no checkpoint at step %d: %s", record.step, error)
            return False
        self._keep_only(place)
        if self._storage is not None:
            self._upload(self._storage, place)
        return True

    def _whole(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [p for p in self._folder.iterdir() if p.is_dir() and _WHOLE.fullmatch(p.name)]

    def _read(self, place: Path) -> Saved | None:
        """Return a checkpoint whose files are what they were when it was written."""
        try:
            content = read_json(place / RECORD_FILE)
            if content.get("files") != _summary(place):
                raise RunFolderError("its files are not whole")
        except (OSError, RunFolderError) as error:
            logger.warning("%s cannot be resumed: %s", place, error)
            return None
        record = validated_or_none(Record, content.get("record"))
        if record is None or record.key != self.key:
            logger.warning(
                "%s is of another configuration, version or data; the trial starts anew", place
            )
            return None
        return Saved(place, record)

    def _keep_only(self, kept: Path | None) -> None:
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path != kept:
                shutil.rmtree(path, ignore_errors=True)
                path.unlink(missing_ok=True) if path.is_file() else None

    def _upload(self, storage: UriStorage, place: Path) -> None:
        """Copy a checkpoint to the storage; the pointer comes last, then older ones go."""
        try:
            before = self._pointed(storage)
            storage.put(place)
            write_json(self._folder / POINTER_FILE, {"newest": place.name})
            storage.put_file(self._folder / POINTER_FILE)
            if before is not None and before != place.name:
                storage.remove(self._folder / before)
        except (OSError, DataError) as error:
            logger.warning("the checkpoint stays on this machine only: %s", error)

    def _fetch(self, storage: UriStorage) -> None:
        try:
            newest = self._pointed(storage)
            if newest is not None:
                shutil.rmtree(self._folder / newest, ignore_errors=True)
                storage.fetch(self._folder / newest)
        except (OSError, DataError) as error:
            logger.warning("no checkpoint is fetched, the trial starts anew: %s", error)

    def _pointed(self, storage: UriStorage) -> str | None:
        """Return the name of the newest checkpoint in the storage."""
        file = self._folder / POINTER_FILE
        if not storage.fetch_file(file):
            return None
        try:
            name = str(json.loads(file.read_text("utf-8"))["newest"])
        except (ValueError, KeyError, TypeError):
            return None
        return name if _WHOLE.fullmatch(name) else None


def _step(place: Path) -> int:
    match = _WHOLE.fullmatch(place.name)
    return int(match[1]) if match else -1


def _summary(folder: Path) -> dict[str, Any]:
    """Return size and checksum of each file, which is synced on the way."""
    return {
        path.name: [path.stat().st_size, _checksum(path)]
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != RECORD_FILE
    }


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found = zlib.crc32(chunk, found)
        os.fsync(stream.fileno())
    return found
