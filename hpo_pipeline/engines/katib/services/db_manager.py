"""Katib's database: it takes the values of trials, and curves are read back from it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import grpc

from hpo_pipeline.results.trial import Point, last_attempt
from hpo_pipeline.trial.names import EPOCH, TRAINING_STEP
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc

TIMEOUT = 10.0
REPORT_TIMEOUT = 4.0
"""Below what a trial waits for us."""


def said(error: grpc.RpcError) -> str:
    """Return what went wrong in a call, on one line; as a text, the error is a dump of several."""
    details = getattr(error, "details", None)
    return " ".join(str(details() if callable(details) else error).split())


class Database:
    """Katib's database manager."""

    def __init__(self, address: str) -> None:
        self._stub = katib_pb2_grpc.DBManagerStub(grpc.insecure_channel(address))

    def curve(self, trial: str, metrics: Iterable[str]) -> tuple[Point, ...]:
        """Return the evaluations of a trial with these metrics.

        The values of its result, which were pushed last, are not among them: only evaluations
        come with an epoch.

        Raises:
            grpc.RpcError: the database cannot be asked.
        """
        epochs, steps = self._series(trial, EPOCH), self._series(trial, TRAINING_STEP)
        columns = {name: self._series(trial, name) for name in metrics}
        points = []
        for i, (epoch, step) in enumerate(zip(epochs, steps, strict=False)):
            values = {name: column[i] for name, column in columns.items() if i < len(column)}
            points.append(Point(i + 1, int(step), epoch, values))
        return tuple(last_attempt(points))

    def report(self, request: wire.ReportObservationLogRequest) -> None:
        """Write the values of a trial.

        Raises:
            grpc.RpcError: the database did not take them.
        """
        self._stub.ReportObservationLog(request, timeout=REPORT_TIMEOUT)

    def _series(self, trial: str, metric: str) -> list[float]:
        request = wire.GetObservationLogRequest(trial_name=trial, metric_name=metric)
        reply = self._stub.GetObservationLog(request, timeout=TIMEOUT)
        logs = reply.observation_log.metric_logs
        return [_number(log.metric.value) for log in logs]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
