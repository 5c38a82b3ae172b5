"""The stopping service: trials report their curves and learn whether to continue.

It runs beside the suggestion service in one pod. It tells Katib that there are no rules, because
Katib checks a rule only once, and it marks the trials that it stopped EarlyStopped. After a restart
it learns the curves of running trials from their next report, which always has the whole curve, and
those of ended trials from Katib's database. The values for that database come here too
(observations.py). admission.py decides which calls are admitted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from pydantic import ValidationError

from hpo_pipeline.engines.katib.names import (
    EXPERIMENT_LABEL,
    LOG_FORMAT_ANNOTATION,
    PREFIX,
    STOPPING_PORT,
    database_address,
)
from hpo_pipeline.engines.katib.services.admission import Admission
from hpo_pipeline.engines.katib.services.db_manager import Database, said
from hpo_pipeline.engines.katib.services.disruptions import Disruptions
from hpo_pipeline.engines.katib.services.early_stopped import mark_stopped
from hpo_pipeline.engines.katib.services.ending import Ending
from hpo_pipeline.engines.katib.services.learning_curves import Curves
from hpo_pipeline.engines.katib.services.observations import Observations
from hpo_pipeline.engines.katib.services.serving import (
    NotAllowed,
    NotNow,
    NotThere,
    OtherData,
    Served,
    ServiceLog,
    TooMuch,
    guarded,
    serve,
)
from hpo_pipeline.engines.katib.services.trial_pods import is_beside
from hpo_pipeline.engines.katib.settings import read_stopping
from hpo_pipeline.engines.katib.status import is_complete, state_of
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, TRIALS, Api, KubernetesApi
from hpo_pipeline.engines.kubernetes.conditions import has_condition
from hpo_pipeline.engines.kubernetes.run_mark import run_of
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.trial.names import LOG_FORMAT_KEY, RUN_KEY, TOKEN_KEY
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc, live_pb2, live_pb2_grpc
from hpo_pipeline.trial.wire.points import from_message

logger = logging.getLogger(__name__)

CHECK_SECONDS = 3.0
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_FAILED = (wire.TrialStatus.FAILED, wire.TrialStatus.KILLED)

OpenDatabase = Callable[[str], Database]


class StoppingService(katib_pb2_grpc.EarlyStoppingServicer, live_pb2_grpc.StoppingServicer):
    """Katib's `EarlyStopping`, and our `Stopping` for the trials.

    Args:
        served: what this pod works for, where that is known; the suggestion service learns of the
            run from here.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        *,
        open_database: OpenDatabase = Database,
        served: Served | None = None,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._open_database = open_database
        self._own = served.experiment if served else None
        self._run = _metadata(served)
        self._admission = Admission(api, namespace)
        self._lock = threading.Lock()
        self._curves: dict[str, Curves] = {}
        self._endings: dict[str, Ending] = {}
        self._disruptions: dict[str, Disruptions] = {}
        if self._own is not None:
            self._ending(self._own)  # its time may be up before any trial calls

    @guarded
    def ValidateEarlyStoppingSettings(
        self, request: wire.ValidateEarlyStoppingSettingsRequest, context: grpc.ServicerContext
    ) -> wire.ValidateEarlyStoppingSettingsReply:
        """Refuse settings that the rule does not take, and rules for trials that do not report."""
        spec = request.early_stopping
        name = spec.algorithm_name.removeprefix(PREFIX)
        settings = {s.name: s.value for s in spec.algorithm_settings}
        try:
            read_stopping(name, settings)
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
            raise ValueError(said) from error
        if self._own is not None:
            self._refuse_foreign(self._own, name)
        return wire.ValidateEarlyStoppingSettingsReply()

    @guarded
    def GetEarlyStoppingRules(
        self, request: wire.GetEarlyStoppingRulesRequest, context: grpc.ServicerContext
    ) -> wire.GetEarlyStoppingRulesReply:
        """Answer that there are none; take note of trials that failed."""
        name = request.experiment.name
        rule = request.experiment.spec.early_stopping.algorithm_name.removeprefix(PREFIX)
        self._refuse_foreign(name, rule)
        with self._lock:
            curves = self._curves.get(name)
        for trial in request.trials:
            if curves is None or trial.status.condition not in _FAILED or curves.has(trial.name):
                continue
            # Looked up, for any pod can send such a request.
            with contextlib.suppress(NotThere, NotNow, TooMuch):
                found = self._admission.trial_object(name, trial.name)
                if has_condition(found, "Failed") or has_condition(found, "Killed"):
                    with self._lock:
                        curves.fail(trial.name)
        return wire.GetEarlyStoppingRulesReply()

    @guarded
    def SetTrialStatus(
        self, request: wire.SetTrialStatusRequest, context: grpc.ServicerContext
    ) -> wire.SetTrialStatusReply:
        """Refuse it: only Katib's collector calls this, for rules that we never give."""
        raise NotAllowed("trials tell how they ended by Finish")

    @guarded
    def Report(
        self, request: live_pb2.ReportRequest, context: grpc.ServicerContext
    ) -> live_pb2.Decision:
        """Take a trial's curve so far and return whether it should continue."""
        name = self._admitted(request, context)
        self._require_data(name, request.data)
        curve = [from_message(point) for point in request.curve]
        with self._lock:
            curves, ending = self._known(name, request.experiment)
            is_beaten = curves.report(request.trial_name, curve)
            if ending.reason is not None:
                return live_pb2.Decision(stop=True, reason=ending.reason)
        rule = curves.experiment.chosen_stopping.algorithm
        return live_pb2.Decision(stop=is_beaten, reason=f"{rule} stops it" if is_beaten else "")

    @guarded
    def Finish(
        self, request: live_pb2.FinishRequest, context: grpc.ServicerContext
    ) -> live_pb2.FinishReply:
        """Take the end of a trial; the result of a stopped one is in Katib's database by now."""
        name = self._admitted(request, context)
        curve = tuple(from_message(point) for point in request.curve)
        state, metrics = TrialState(request.state), dict(request.metrics)
        with self._lock:
            curves, ending = self._known(name, request.experiment)
            curves.finish(Trial(request.trial_name, 0, state, {}, metrics, curve))
            ending.decide(curves.target_reached())
        if state is TrialState.STOPPED:
            mark_stopped(self._api, self._namespace, request.trial_name, metrics, curve)
        return live_pb2.FinishReply()

    @guarded
    def IsOver(
        self, request: live_pb2.IsOverRequest, context: grpc.ServicerContext
    ) -> live_pb2.Decision:
        """Tell the suggestion service of this pod whether more trials are wanted."""
        if not is_beside(context.peer()):
            raise NotAllowed("only the suggestion service of the same pod may ask this")
        self._admission.experiment(request.experiment_name)
        with self._lock:
            ending = self._ending(request.experiment_name)
        context.set_trailing_metadata(self._run)
        reason = ending.refuses_more()
        return live_pb2.Decision(stop=reason is not None, reason=reason or "")

    def _admitted(
        self, request: live_pb2.ReportRequest | live_pb2.FinishRequest, context: Any
    ) -> str:
        """Return the name of the experiment of a call that a trial makes for itself."""
        content = json.loads(request.experiment)
        name = content.get("name") if isinstance(content, dict) else None
        if not isinstance(name, str):
            raise ValueError("experiment: must be an experiment as JSON")
        sent = dict(context.invocation_metadata() or ())
        token = str(sent.get(TOKEN_KEY, ""))
        self._admission.trial(name, request.trial_name, token, context.peer())
        return name

    def _require_data(self, experiment: str, fingerprint: str) -> None:
        """End the search where a trial has other data than those before it.

        Raises:
            OtherData: with what to do.
        """
        if not fingerprint:
            return  # an image of an earlier version
        try:
            self._admission.data(experiment, fingerprint)
        except OtherData:
            with self._lock:
                self._ending(experiment).decide("the data have changed since it was started")
            raise

    def _refuse_foreign(self, experiment: str, rule: str) -> None:
        """Refuse a rule for an experiment whose trials do not report to this service."""
        if rule not in ("", "none") and not self._admission.is_rendered(experiment):
            raise ValueError(
                f"{PREFIX}{rule} stops only trials that report to it, and {experiment} was not "
                f"written by `hpo render`; use medianstop of Katib, or no early stopping"
            )

    def add_to(self, server: grpc.Server) -> None:
        """Serve all that Katib and the trials ask at this port."""
        katib_pb2_grpc.add_EarlyStoppingServicer_to_server(self, server)
        observations = Observations(self._admission, self._open_database)
        katib_pb2_grpc.add_DBManagerServicer_to_server(observations, server)
        live_pb2_grpc.add_StoppingServicer_to_server(self, server)

    def check(self) -> None:
        """Look whether searches are over; called every few seconds."""
        with self._lock:
            endings = dict(self._endings)
        for name, ending in endings.items():
            ending.check()
            if ending.reason is None:
                with contextlib.suppress(ClusterError):
                    self._disruptions[name].check()
            if ending.is_gone:
                with self._lock:
                    for known in (self._endings, self._curves, self._disruptions):
                        known.pop(name, None)
                self._admission.forget(name)

    def _ending(self, name: str) -> Ending:
        if name not in self._endings:
            self._disruptions[name] = Disruptions(self._api, self._namespace, name)
            self._endings[name] = Ending(self._api, self._namespace, name)
        return self._endings[name]

    def _known(self, name: str, text: str) -> tuple[Curves, Ending]:
        ending = self._ending(name)
        if name not in self._curves:
            curves = self._curves[name] = Curves(Experiment.model_validate_json(text))
            self._learn(curves)
            ending.decide(curves.target_reached())
        return self._curves[name], ending

    def _learn(self, curves: Curves) -> None:
        """Take over what other trials ended with before this service started."""
        experiment = curves.experiment
        labels = f"{EXPERIMENT_LABEL}={experiment.name}"
        try:
            found = self._api.list(TRIALS, self._namespace, labels=labels)["items"]
            reads = frozenset().union(*(o.reads for o in experiment.objective))
            database = self._open_database(database_address(experiment.cluster.katib_namespace))
            for item in filter(is_complete, found):
                trial = state_of(experiment, item)
                if trial.state is TrialState.FAILED:
                    curves.fail(trial.name)
                    continue
                curve = database.curve(trial.name, reads)
                curves.finish(Trial(trial.name, 0, trial.state, {}, trial.metrics, curve))
        except (ClusterError, grpc.RpcError) as error:
            why = said(error) if isinstance(error, grpc.RpcError) else error
            logger.warning("%s: earlier trials are not known: %s", experiment.name, why)


def own_experiment(api: Api, namespace: str, pod: str) -> str | None:
    """Return the experiment that a pod of services was made for, from the pod's name.

    Katib names it EXPERIMENT-ALGORITHM-HASH-SUFFIX; dashes may be in the first two as well.
    """
    parts = pod.split("-")[:-2]
    for length in range(len(parts) - 1, 0, -1):
        name = "-".join(parts[:length])
        try:
            spec = api.get(EXPERIMENTS, namespace, name).get("spec") or {}
        except ClusterError as error:
            logger.debug("%s: %s", name, error)
            continue
        if (spec.get("algorithm") or {}).get("algorithmName") == "-".join(parts[length:]):
            return name
    return None


def look_up(api: Api, namespace: str, experiment: str) -> Served:
    """Return what there is to know of an experiment's run; it is for the log only."""
    try:
        found = api.get(EXPERIMENTS, namespace, experiment)
    except ClusterError:
        return Served(experiment)
    notes = found["metadata"].get("annotations") or {}
    return Served(experiment, run_of(found), notes.get(LOG_FORMAT_ANNOTATION))


def _metadata(served: Served | None) -> tuple[tuple[str, str], ...]:
    pairs = ((RUN_KEY, served.run_id), (LOG_FORMAT_KEY, served.log_format)) if served else ()
    return tuple((key, value) for key, value in pairs if value is not None)


def main() -> None:
    """Serve on Katib's port for early stopping."""
    log = ServiceLog()
    api, namespace = KubernetesApi(), NAMESPACE_FILE.read_text("utf-8").strip()
    own = own_experiment(api, namespace, socket.gethostname())
    served = None if own is None else look_up(api, namespace, own)
    if served is not None:
        log.serves(served)
    service = StoppingService(api, namespace, served=served)

    def keep_checking() -> None:
        while not stopped.wait(CHECK_SECONDS):
            service.check()

    stopped = threading.Event()
    threading.Thread(target=keep_checking, daemon=True).start()
    serve(f"[::]:{STOPPING_PORT}", service.add_to, workers=16)
    stopped.set()


if __name__ == "__main__":
    main()
