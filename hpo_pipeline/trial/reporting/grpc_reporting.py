"""What a trial reports on Katib: values to Katib's database, curves to our stopping service.

Neither may fail a trial: what could not be sent is sent with the next evaluation or at the end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import grpc

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.trial.names import EPOCH, EXPERIMENT_KEY, TOKEN_KEY, TRAINING_STEP
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc, live_pb2, live_pb2_grpc
from hpo_pipeline.trial.wire.points import to_message

logger = logging.getLogger(__name__)

TIMEOUT = 5.0
POLL_SECONDS = 10.0
DATABASE_PATIENCE = 300.0
"""Seconds to keep trying at the end: a trial without values in the database has failed."""
SERVICE_PATIENCE = 60.0
PAUSE = 2.0
_FINAL = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
)
"""Answers that stay the same however often one asks."""


class DatabaseReporter:
    """Pushes the values of each evaluation, and those of the result, to Katib's database.

    They go through the stopping service, which lets a trial write its own only. A service of an
    earlier version does not take them; then they go to the database itself.
    """

    def __init__(
        self, database: str, service: str, experiment: str, trial: str, *, token: str = ""
    ) -> None:
        self._database = database
        self._stub = katib_pb2_grpc.DBManagerStub(grpc.insecure_channel(service))
        self._metadata: tuple[tuple[str, str], ...] = (
            (EXPERIMENT_KEY, experiment),
            (TOKEN_KEY, token),
        )
        self._trial = trial
        self._waiting: list[wire.MetricLog] = []

    def training(self) -> None:
        """Say nothing: there is no value yet."""

    def resumed(self, curve: Sequence[Point]) -> None:
        """Push nothing: the database has kept what was reported."""

    def evaluated(self, point: Point) -> bool:
        """Push the values of an evaluation."""
        progress = {EPOCH: point.epoch, TRAINING_STEP: float(point.training_step)}
        self._add({**point.metrics, **progress})
        self._push()
        return True

    def finished(self, trial: Trial) -> None:
        """Push the values of the result, which Katib then has as the latest."""
        if trial.state is not TrialState.FAILED:
            self._add(trial.metrics)
            _patiently(self._push, DATABASE_PATIENCE)

    def _add(self, metrics: dict[str, float]) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        for name, value in metrics.items():
            metric = wire.Metric(name=name, value=repr(value))
            self._waiting.append(wire.MetricLog(time_stamp=now, metric=metric))

    def _push(self) -> bool:
        log = wire.ObservationLog(metric_logs=self._waiting)
        request = wire.ReportObservationLogRequest(trial_name=self._trial, observation_log=log)
        try:
            self._stub.ReportObservationLog(request, timeout=TIMEOUT, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                self._stub = katib_pb2_grpc.DBManagerStub(grpc.insecure_channel(self._database))
                self._metadata = ()
                return self._push()
            logger.warning("Katib's database did not take the values: %s", _said(error))
            return False
        self._waiting.clear()
        return True


class StoppingReporter:
    """Sends the curve to the stopping service, and learns whether to continue.

    Between evaluations it asks every few seconds whether the search is over.
    """

    def __init__(
        self, address: str, experiment: Experiment, trial: str, *, token: str = ""
    ) -> None:
        self._metadata = ((TOKEN_KEY, token),)
        self._stub = live_pb2_grpc.StoppingStub(grpc.insecure_channel(address))
        self._experiment = experiment.to_json()
        self._trial = trial
        self._data = ""
        self._refusal: str | None = None
        self._curve: list[live_pb2.Point] = []
        self._is_over = threading.Event()
        self._ended = threading.Event()

    def begin(self, fingerprint: str) -> None:
        """Tell which data the trial is about to be trained on.

        Raises:
            TrialError: the other trials of the experiment were trained on other data.
        """
        self._data = fingerprint

        def ask() -> bool:
            try:
                self._stub.Report(self._report_of([]), timeout=TIMEOUT, metadata=self._metadata)
            except grpc.RpcError as error:
                return self._is_refused(error) or error.code() in _FINAL
            return True

        _patiently(ask, SERVICE_PATIENCE)
        self._require_data()

    def training(self) -> None:
        """Begin to ask whether the search is over."""
        threading.Thread(target=self._keep_asking, daemon=True).start()

    def resumed(self, curve: Sequence[Point]) -> None:
        """Have the next report tell the whole curve."""
        self._curve = [to_message(point) for point in curve]

    def evaluated(self, point: Point) -> bool:
        """Tell the curve; return False where the service says stop.

        Raises:
            TrialError: as `begin`, from a service that did not answer then.
        """
        self._curve.append(to_message(point))
        is_over = self._report(self._curve)
        self._require_data()
        return not is_over

    def finished(self, trial: Trial) -> None:
        """Tell the end; of a stopped trial, the service tells Katib."""
        self._ended.set()
        request = live_pb2.FinishRequest(
            experiment=self._experiment,
            trial_name=self._trial,
            state=trial.state.value,
            metrics=trial.metrics,
            curve=self._curve,
        )

        def finish() -> bool:
            try:
                self._stub.Finish(request, timeout=TIMEOUT, metadata=self._metadata)
            except grpc.RpcError as error:
                logger.warning("the stopping service did not take the end: %s", _said(error))
                return error.code() in _FINAL
            return True

        _patiently(finish, SERVICE_PATIENCE)

    def is_over(self) -> bool:
        """Return whether the service said that the search is over."""
        return self._is_over.is_set()

    def _report(self, curve: list[live_pb2.Point]) -> bool:
        try:
            decision = self._stub.Report(
                self._report_of(curve), timeout=TIMEOUT, metadata=self._metadata
            )
        except grpc.RpcError as error:
            self._is_refused(error)
            return False
        if decision.stop:
            logger.warning("this trial ends early: %s", decision.reason)
        return bool(decision.stop)

    def _is_refused(self, error: grpc.RpcError) -> bool:
        """Note whether the service refuses the trial for its data; other errors may pass."""
        said = _said(error)
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            self._refusal = said
        else:
            logger.warning("the stopping service did not take the report: %s", said)
        return self._refusal is not None

    def _require_data(self) -> None:
        if self._refusal is not None:
            raise TrialError(self._refusal)

    def _report_of(self, curve: list[live_pb2.Point]) -> live_pb2.ReportRequest:
        return live_pb2.ReportRequest(
            experiment=self._experiment, trial_name=self._trial, curve=curve, data=self._data
        )

    def _keep_asking(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            if self._report([]):
                self._is_over.set()
                return


def _patiently(attempt: Callable[[], bool], patience: float) -> None:
    end = time.monotonic() + patience
    while not attempt() and time.monotonic() < end:
        time.sleep(PAUSE)


def _said(error: grpc.RpcError) -> str:
    details = getattr(error, "details", None)
    return str(details()) if callable(details) else str(error)
