"""The stopping service: trials tell it their curves and hear whether to go on.

It stands beside the suggestion service in one pod. To Katib it answers that there are no rules,
for Katib's own can be checked only once; and it marks the trials that it stopped EarlyStopped.
After a restart it learns the running trials' curves from their next report, for each comes whole,
and those of ended trials from Katib's database.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
from pydantic import ValidationError

from hpo_pipeline.engines.katib.names import (
    EXPERIMENT_LABEL,
    PREFIX,
    STOPPING_PORT,
    database_address,
)
from hpo_pipeline.engines.katib.services.db_manager import Database
from hpo_pipeline.engines.katib.services.early_stopped import mark_stopped
from hpo_pipeline.engines.katib.services.ending import Ending
from hpo_pipeline.engines.katib.services.learning_curves import Curves
from hpo_pipeline.engines.katib.services.serving import guarded, serve
from hpo_pipeline.engines.katib.settings import read_stopping
from hpo_pipeline.engines.katib.status import is_complete, state_of
from hpo_pipeline.engines.kubernetes.api import TRIALS, Api, KubernetesApi
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc, live_pb2, live_pb2_grpc
from hpo_pipeline.trial.wire.points import from_message

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

OpenDatabase = Callable[[str], Database]


class StoppingService(katib_pb2_grpc.EarlyStoppingServicer, live_pb2_grpc.StoppingServicer):
    """Katib's `EarlyStopping`, and our `Stopping` for the trials."""

    def __init__(self, api: Api, namespace: str, *, open_database: OpenDatabase = Database) -> None:
        self._api = api
        self._namespace = namespace
        self._open_database = open_database
        self._lock = threading.Lock()
        self._curves: dict[str, Curves] = {}
        self._endings: dict[str, Ending] = {}

    @guarded
    def ValidateEarlyStoppingSettings(
        self, request: wire.ValidateEarlyStoppingSettingsRequest, context: grpc.ServicerContext
    ) -> wire.ValidateEarlyStoppingSettingsReply:
        """Refuse settings that the rule does not take, with the reason."""
        spec = request.early_stopping
        settings = {s.name: s.value for s in spec.algorithm_settings}
        try:
            read_stopping(spec.algorithm_name.removeprefix(PREFIX), settings)
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
            raise ValueError(said) from error
        return wire.ValidateEarlyStoppingSettingsReply()

    @guarded
    def GetEarlyStoppingRules(
        self, request: wire.GetEarlyStoppingRulesRequest, context: grpc.ServicerContext
    ) -> wire.GetEarlyStoppingRulesReply:
        """Answer that there are none; take note of trials that failed."""
        failed = (wire.TrialStatus.FAILED, wire.TrialStatus.KILLED)
        with self._lock:
            curves = self._curves.get(request.experiment.name)
            for trial in request.trials:
                if curves is not None and trial.status.condition in failed:
                    curves.fail(trial.name)
        return wire.GetEarlyStoppingRulesReply()

    @guarded
    def SetTrialStatus(
        self, request: wire.SetTrialStatusRequest, context: grpc.ServicerContext
    ) -> wire.SetTrialStatusReply:
        """Mark a trial EarlyStopped."""
        mark_stopped(self._api, self._namespace, request.trial_name)
        return wire.SetTrialStatusReply()

    @guarded
    def Report(
        self, request: live_pb2.ReportRequest, context: grpc.ServicerContext
    ) -> live_pb2.Decision:
        """Take a trial's curve so far and tell whether it should go on."""
        experiment = Experiment.model_validate_json(request.experiment)
        curve = [from_message(point) for point in request.curve]
        with self._lock:
            curves, ending = self._known(experiment)
            is_beaten = curves.report(request.trial_name, curve)
            if ending.reason is not None:
                return live_pb2.Decision(stop=True, reason=ending.reason)
        reason = f"{experiment.stopping.algorithm} stops it" if is_beaten else ""
        return live_pb2.Decision(stop=is_beaten, reason=reason)

    @guarded
    def Finish(
        self, request: live_pb2.FinishRequest, context: grpc.ServicerContext
    ) -> live_pb2.FinishReply:
        """Take the end of a trial; the result of a stopped one is in Katib's database by now."""
        experiment = Experiment.model_validate_json(request.experiment)
        curve = tuple(from_message(point) for point in request.curve)
        state, metrics = TrialState(request.state), dict(request.metrics)
        with self._lock:
            curves, ending = self._known(experiment)
            curves.finish(Trial(request.trial_name, 0, state, {}, metrics, curve))
            ending.decide(curves.target_reached())
        if state is TrialState.STOPPED:
            mark_stopped(self._api, self._namespace, request.trial_name, metrics, curve)
        return live_pb2.FinishReply()

    @guarded
    def IsOver(
        self, request: live_pb2.IsOverRequest, context: grpc.ServicerContext
    ) -> live_pb2.Decision:
        """Tell whether more trials are wanted."""
        with self._lock:
            ending = self._ending(request.experiment_name)
        return live_pb2.Decision(stop=ending.reason is not None, reason=ending.reason or "")

    def check(self) -> None:
        """Look whether searches are over; called every few seconds."""
        with self._lock:
            endings = list(self._endings.values())
        for ending in endings:
            ending.check()

    def _ending(self, name: str) -> Ending:
        if name not in self._endings:
            self._endings[name] = Ending(self._api, self._namespace, name)
        return self._endings[name]

    def _known(self, experiment: Experiment) -> tuple[Curves, Ending]:
        ending = self._ending(experiment.name)
        if experiment.name not in self._curves:
            curves = self._curves[experiment.name] = Curves(experiment)
            self._learn(curves)
            ending.decide(curves.target_reached())
        return self._curves[experiment.name], ending

    def _learn(self, curves: Curves) -> None:
        """Take over what other trials ended with before this service started."""
        experiment = curves.experiment
        labels = f"{EXPERIMENT_LABEL}={experiment.name}"
        try:
            found = self._api.list(TRIALS, self._namespace, labels=labels)["items"]
            database = self._open_database(database_address(experiment.cluster.katib_namespace))
            for item in filter(is_complete, found):
                trial = state_of(experiment, item)
                if trial.state is TrialState.FAILED:
                    curves.fail(trial.name)
                    continue
                curve = database.curve(trial.name, experiment.objective[0].reads)
                curves.finish(Trial(trial.name, 0, trial.state, {}, trial.metrics, curve))
        except (ClusterError, grpc.RpcError) as error:
            logger.warning("%s: earlier trials are not known: %s", experiment.name, error)


def main() -> None:
    """Serve on Katib's port for early stopping."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    service = StoppingService(KubernetesApi(), NAMESPACE_FILE.read_text("utf-8").strip())

    def add(server: grpc.Server) -> None:
        katib_pb2_grpc.add_EarlyStoppingServicer_to_server(service, server)
        live_pb2_grpc.add_StoppingServicer_to_server(service, server)

    def keep_checking() -> None:
        while not stopped.wait(CHECK_SECONDS):
            service.check()

    stopped = threading.Event()
    threading.Thread(target=keep_checking, daemon=True).start()
    serve(f"[::]:{STOPPING_PORT}", add, workers=16)
    stopped.set()


if __name__ == "__main__":
    main()
