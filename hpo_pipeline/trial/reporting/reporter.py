"""What a trial says to the outside while it runs.

Lines `2026-01-01T00:00:00.000Z f1=0.91` on stdout, one metric a line, which Katib's StdOut
collector reads, and one line of JSON at the end with what is no metric; and, on this machine, one
JSON line for each event on a channel to the engine, which answers every evaluation with go or stop.
Writer and reader of both stand here.
"""

from __future__ import annotations

import json
import logging
import math
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Protocol

from hpo_pipeline.errors import TrialError
from hpo_pipeline.results.trial import Point, Trial, TrialState, last_attempt
from hpo_pipeline.trial.names import EPOCH, TRAINING_STEP

logger = logging.getLogger(__name__)

METRIC_NAME = re.compile(r"[A-Za-z_][\w-]*")
ABOUT = ("environment", "intervals", "served", "training_steps", "variants")
"""Fields of a trial that its log tells at its end."""
_MARK = "about this trial: "
_LINE = re.compile(r"(?P<time>\S+Z) (?P<name>[\w-]+)=(?P<value>\S+)")


class EngineGone(Exception):
    """The engine that started this trial has ended: the trial ends too, without a result.

    It is no TrialError, because the configuration did nothing wrong: the trial is run again.
    """


class Reporter(Protocol):
    """Where a trial reports to."""

    def training(self) -> None:
        """Say that the first training step begins."""

    def resumed(self, curve: Sequence[Point]) -> None:
        """Repeat the reports from before the trial was cut off, for a listener that lost them."""

    def evaluated(self, point: Point) -> bool:
        """Report an evaluation; return whether the trial should continue."""

    def finished(self, trial: Trial) -> None:
        """Report the end of the trial, whose result is written by now."""


class MetricLines:
    """Reports evaluations as metric lines; nobody answers, so the trial continues."""

    def __init__(self, stream: IO[str], clock: Callable[[], datetime] | None = None) -> None:
        self._stream = stream
        self._clock = clock or (lambda: datetime.now(UTC))

    def training(self) -> None:
        """Say in the log that training begins; there is no metric yet."""
        logger.info("training begins")

    def resumed(self, curve: Sequence[Point]) -> None:
        """Write the evaluations again: the log of an earlier pod is gone with that pod.

        Each gets a time of its own, shortly before now, for the time tells evaluations apart.
        """
        logger.info("%d evaluations were reported before", len(curve))
        now = self._clock()
        for i, point in enumerate(curve):
            ago = timedelta(milliseconds=len(curve) - i)
            self._write(_with_progress(point), now - ago)

    def evaluated(self, point: Point) -> bool:
        """Write one line for each metric, and how far the training is."""
        self._write(_with_progress(point))
        return True

    def finished(self, trial: Trial) -> None:
        """Write the metrics of the result, if there is one, and what else is known of it."""
        if trial.state is not TrialState.FAILED:
            self._write(trial.metrics)
        # Katib's collector warns of a line that names a metric and does not begin with a time.
        self._stream.write(f"{_stamp(self._clock())} {about_line(trial)}\n")
        self._stream.flush()

    def _write(self, metrics: Mapping[str, float], at: datetime | None = None) -> None:
        time = _stamp(at or self._clock())
        self._stream.writelines(f"{time} {line}\n" for line in metric_lines(metrics))
        self._stream.flush()


class Channel:
    """Reports to the engine of this machine over a socket, and waits for its decision."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._reader = self._socket.makefile("r", encoding="utf-8")

    def training(self) -> None:
        """Say that training begins."""
        self._send({"event": "training"})

    def resumed(self, curve: Sequence[Point]) -> None:
        """Send the curve, which an engine that was started again does not know."""
        self._send({"event": "resumed", "curve": [asdict(point) for point in curve]})

    def evaluated(self, point: Point) -> bool:
        """Send the point; return False where the engine says stop.

        Raises:
            EngineGone: the engine has ended.
        """
        self._send({"event": "evaluated", "point": asdict(point)})
        try:
            answer = self._reader.readline().strip()
        except OSError:
            answer = ""
        if not answer:
            self.close()
            raise EngineGone
        return answer != "stop"

    def finished(self, trial: Trial) -> None:
        """Hang up: the engine reads the result."""
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._reader.close()
        self._socket.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            self.close()
            raise EngineGone from error


@dataclass(frozen=True)
class Several:
    """Reports to several; the trial continues only if all say so."""

    reporters: tuple[Reporter, ...]

    def training(self) -> None:
        """Say it to all."""
        for reporter in self.reporters:
            reporter.training()

    def resumed(self, curve: Sequence[Point]) -> None:
        """Tell all."""
        for reporter in self.reporters:
            reporter.resumed(curve)

    def evaluated(self, point: Point) -> bool:
        """Report to all, and do not leave one out because another says stop."""
        return all([reporter.evaluated(point) for reporter in self.reporters])

    def finished(self, trial: Trial) -> None:
        """Report to all."""
        for reporter in self.reporters:
            reporter.finished(trial)


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _with_progress(point: Point) -> dict[str, float]:
    return {**point.metrics, EPOCH: point.epoch, TRAINING_STEP: float(point.training_step)}


def metric_lines(metrics: Mapping[str, float]) -> list[str]:
    """Return `name=value` for each metric, so that reading gives the same number back.

    Raises:
        TrialError: a value is not finite or a name could not be read back.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrialError(f"{name} is not a finite number ({value})")
        if not METRIC_NAME.fullmatch(name):
            raise TrialError(f"{name!r} cannot be the name of a metric")
    return [f"{name}={float(value)!r}" for name, value in metrics.items()]


def read_metric_line(line: str) -> tuple[str, float] | None:
    """Return the name and value of a metric line, or None for any other line."""
    match = _LINE.fullmatch(line.strip())
    return (match["name"], float(match["value"])) if match else None


def read_curve(lines: Iterable[str]) -> list[Point]:
    """Return the evaluations that metric lines tell of; other lines are passed over.

    The lines of one evaluation have one time. Those of the result have no epoch.
    """
    blocks: dict[str, dict[str, float]] = {}
    for line in lines:
        match = _LINE.fullmatch(line.strip())
        if match:
            blocks.setdefault(match["time"], {})[match["name"]] = float(match["value"])
    points: list[Point] = []
    for block in blocks.values():
        if EPOCH in block and TRAINING_STEP in block:
            epoch, step = block.pop(EPOCH), int(block.pop(TRAINING_STEP))
            points.append(Point(len(points) + 1, step, epoch, block))
    return last_attempt(points)


def about_line(trial: Trial) -> str:
    """Return a line with what a trial knows of itself besides metrics, as JSON."""
    data = trial.to_json()
    text = json.dumps({name: data[name] for name in ABOUT}, separators=(",", ":"))
    # Katib's collector takes what is beside an equals sign for a metric.
    return _MARK + text.replace("=", "\\u003d")


def read_about(lines: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a trial that the last such line tells; none where it is damaged."""
    texts = (line.partition(_MARK)[2] for line in reversed(lines) if _MARK in line)
    try:
        told = json.loads(next(texts, "{}"))
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    blank = Trial("trial", 0, TrialState.SUCCEEDED, {}).to_json()
    found = Trial.from_json({**blank, **{name: told[name] for name in ABOUT if name in told}})
    return {name: getattr(found, name) for name in ABOUT} if found else {}
