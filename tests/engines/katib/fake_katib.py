"""Katib's controllers in memory: they ask our real services over gRPC, as Katib 0.19 does.

What it does, and where, is in the comments.
"""

from __future__ import annotations

import json
import random
import re
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc

from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL
from hpo_pipeline.engines.katib.services.db_manager import Database
from hpo_pipeline.engines.katib.services.stopping import StoppingService
from hpo_pipeline.engines.katib.services.suggestion import StoppingBeside, SuggestionService
from hpo_pipeline.engines.katib.status import is_complete
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, TRIALS
from hpo_pipeline.engines.kubernetes.conditions import has_condition
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc
from tests.engines.katib.fake_database import serve

if TYPE_CHECKING:
    from tests.engines.katib.fake_cluster import FakeCluster

COMPLETE = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
LOOK_SECONDS = 0.2
TERMINAL = ("Succeeded", "Failed", "MetricsUnavailable", "EarlyStopped")


class FakeKatib(threading.Thread):
    """Katib's controllers for one experiment, with the pod of its services."""

    def __init__(self, cluster: FakeCluster, name: str):
        super().__init__(daemon=True)
        self.cluster, self.name_ = cluster, name
        self.ended = threading.Event()
        self.suggested: list = []
        self.start_services(0)
        self.start()

    def restart_services(self):
        """Start the services anew, as after the end of their pod: they know nothing."""
        self.suggestion_server.stop(None).wait()
        self.stopping_server.stop(None).wait()
        self.start_services(self.stopping_port)

    def start_services(self, port):
        cluster = self.cluster
        address = f"127.0.0.1:{cluster.database_port}"
        self.stopping = StoppingService(cluster, "hpo", open_database=lambda _: Database(address))
        self.stopping_server, self.stopping_port = serve(self.stopping.add_to, port)
        beside = StoppingBeside(f"127.0.0.1:{self.stopping_port}")
        service = SuggestionService(beside)
        self.suggestion_server, port = serve(
            lambda s: katib_pb2_grpc.add_SuggestionServicer_to_server(service, s)
        )
        self.suggestion = katib_pb2_grpc.SuggestionStub(grpc.insecure_channel(f"127.0.0.1:{port}"))

    def close(self):
        self.ended.set()
        self.cluster.wake()
        self.suggestion_server.stop(None)
        self.stopping_server.stop(None)

    def run(self):
        if not self.validate():
            return
        while self.changed():
            try:
                self.stopping.check()
                if self.reconcile():
                    break
            except ClusterError:
                continue
        self.suggestion_server.stop(None)  # resumePolicy Never
        self.stopping_server.stop(None)
        while self.changed():  # the controller of the trials goes on
            for trial in self.trials():
                self.update(trial)

    def changed(self) -> bool:
        """Wait for the next event, or for LOOK_SECONDS; return False once this is closed."""
        with self.cluster.changed:
            if not self.ended.is_set():
                self.cluster.changed.wait(LOOK_SECONDS)
        return not self.ended.is_set()

    def trials(self):
        labels = f"{EXPERIMENT_LABEL}={self.name_}"
        return self.cluster.list(TRIALS, "hpo", labels=labels)["items"]

    def validate(self):
        """INVALID_ARGUMENT ends the experiment (suggestionclient.go)."""
        experiment = self.cluster.get(EXPERIMENTS, "hpo", self.name_)
        request = wire.ValidateAlgorithmSettingsRequest(experiment=experiment_message(experiment))
        try:
            self.suggestion.ValidateAlgorithmSettings(request)
        except grpc.RpcError as error:
            self.condition(EXPERIMENTS, self.name_, "Failed", str(error.details()))
            return False
        return True

    def reconcile(self):
        """One round of the experiment controller; True when the experiment is over."""
        experiment = self.cluster.get(EXPERIMENTS, "hpo", self.name_)
        for trial in self.trials():
            self.update(trial)
        trials = self.trials()
        if is_complete(experiment):
            return True
        spec = experiment["spec"]
        failed = sum(has_condition(t, "Failed") for t in trials)
        unavailable = sum(has_condition(t, "MetricsUnavailable") for t in trials)
        completed = sum(map(is_complete, trials))
        # status_util.go: failures are looked at first, then the number of trials.
        if failed + unavailable and failed + unavailable >= spec["maxFailedTrialCount"]:
            message = "Experiment has failed because max failed count has reached"
            self.condition(EXPERIMENTS, self.name_, "Failed", message)
            return True
        if completed >= spec["maxTrialCount"]:
            message = "Experiment has succeeded because max trial count has reached"
            self.condition(EXPERIMENTS, self.name_, "Succeeded", message)
            return True
        active = len(trials) - completed
        wanted = min(spec["parallelTrialCount"], spec["maxTrialCount"] - completed) - active
        if wanted > 0:
            self.create_trials(experiment, trials, wanted)
        return False

    def create_trials(self, experiment, trials, wanted):
        request = wire.GetSuggestionsRequest(
            experiment=experiment_message(experiment),
            trials=[m for t in trials if (m := trial_message(t)) is not None],
            current_request_number=wanted,
            total_request_number=len(self.suggested) + wanted,
        )
        try:
            reply = self.suggestion.GetSuggestions(request, timeout=60)
        except grpc.RpcError:
            return  # it asks again
        assert len(reply.parameter_assignments) == wanted
        self.suggested += reply.parameter_assignments
        for assignment in reply.parameter_assignments:
            self.create_trial(experiment, assignment)

    def create_trial(self, experiment, assignment):
        template = experiment["spec"]["trialTemplate"]
        values = {a.name: a.value for a in assignment.assignments}
        text = json.dumps(template["trialSpec"])
        # generator.go: every parameter of the template has a value, and the other way round.
        references = {p["name"]: p["reference"] for p in template["trialParameters"]}
        assert set(references.values()) - {"${trialSpec.Name}"} == set(values)
        for name, reference in references.items():
            value = values.get(reference, assignment.trial_name)
            text = text.replace(f"${{trialParameters.{name}}}", value)
        job = json.loads(text)
        job["metadata"] = {"name": assignment.trial_name}
        container = job["spec"]["template"]["spec"]["containers"][0]
        config = job["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
        container["args"] = [self.local(argument, config) for argument in container["args"]]
        trial = {
            "metadata": {
                "name": assignment.trial_name,
                "labels": {EXPERIMENT_LABEL: self.name_},
            },
            "spec": {
                "objective": experiment["spec"]["objective"],
                "successCondition": COMPLETE,
                "parameterAssignments": [{"name": n, "value": v} for n, v in values.items()],
            },
            "status": {"conditions": []},
        }
        self.cluster.create(TRIALS, "hpo", trial)
        self.condition(TRIALS, assignment.trial_name, "Running", "")
        self.cluster.run_job(job)

    def local(self, argument: str, config: str) -> str:
        """Return an argument with the paths and addresses of this machine."""
        argument = self.cluster.local(argument, config)
        argument = re.sub(r"^.*:6788$", f"127.0.0.1:{self.stopping_port}", argument)
        return re.sub(r"^.*:6789$", f"127.0.0.1:{self.cluster.database_port}", argument)

    def update(self, trial):
        """What the trial controller does when a job has ended."""
        name = trial["metadata"]["name"]
        code = self.cluster.exits.get(name)
        if code is None or any(has_condition(trial, c) for c in TERMINAL[:3]):
            return
        if has_condition(trial, "EarlyStopped"):
            # Looked at again for as long as its job matches a condition (GetDeployedJobStatus).
            if trial["spec"]["successCondition"] == COMPLETE:
                self.observe(trial)
        elif code != 0:
            self.condition(TRIALS, name, "Failed", "Job has reached the specified backoff limit")
        elif self.observe(trial):
            self.condition(TRIALS, name, "Succeeded", "")
        else:
            self.condition(TRIALS, name, "MetricsUnavailable", "")

    def observe(self, trial):
        name = trial["metadata"]["name"]
        objective = trial["spec"]["objective"]
        listed = [objective["objectiveMetricName"], *objective["additionalMetricNames"]]
        random.shuffle(listed)  # getMetrics goes through a map, whose order Go leaves open
        latest = {m: v for t, m, v in self.cluster.database.rows if t == name}
        metrics = [{"name": m, "latest": latest.get(m, "unavailable")} for m in listed]
        status = {"status": {"observation": {"metrics": metrics}}}
        self.cluster.patch(TRIALS, "hpo", name, status)
        return objective["objectiveMetricName"] in latest

    def condition(self, kind, name, what, message):
        with self.cluster.lock:
            item = self.cluster.get(kind, "hpo", name)
            kept = [c for c in item.get("status", {}).get("conditions", []) if c["type"] != what]
            if what != "Running":
                kept = [{**c, "status": "False"} if c["type"] == "Running" else c for c in kept]
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            condition = {"type": what, "status": "True", "message": message, "reason": what}
            status = {"conditions": [*kept, condition]}
            if kind == EXPERIMENTS and what != "Running":
                status["completionTime"] = now
            times = {"startTime": item["metadata"]["creationTimestamp"]}
            times |= {"completionTime": now} if what in TERMINAL else {}
            self.cluster.patch(kind, "hpo", name, {"status": {**status, **times}})


def experiment_message(item) -> wire.Experiment:
    """Return an experiment as Katib puts it into a request."""
    spec = item["spec"]
    found = wire.Experiment(name=item["metadata"]["name"])
    found.spec.max_trial_count = spec["maxTrialCount"]
    found.spec.parallel_trial_count = spec["parallelTrialCount"]
    objective, algorithm = spec["objective"], spec["algorithm"]
    found.spec.objective.objective_metric_name = objective["objectiveMetricName"]
    found.spec.objective.type = wire.ObjectiveType.Value(objective["type"].upper())
    found.spec.objective.additional_metric_names.extend(objective["additionalMetricNames"])
    found.spec.algorithm.algorithm_name = algorithm["algorithmName"]
    for setting in algorithm["algorithmSettings"]:
        found.spec.algorithm.algorithm_settings.add(**setting)
    for parameter in spec["parameters"]:
        space = dict(parameter["feasibleSpace"])
        kind = wire.ParameterType.Value(parameter["parameterType"].upper())
        name = {"uniform": "UNIFORM", "logUniform": "LOG_UNIFORM"}.get(space.get("distribution"))
        space["distribution"] = getattr(wire, name) if name else wire.DISTRIBUTION_UNSPECIFIED
        found.spec.parameter_specs.parameters.add(
            name=parameter["name"],
            parameter_type=kind,
            feasible_space=wire.FeasibleSpace(**space),
        )
    return found


def trial_message(item) -> wire.Trial | None:
    """Return a trial as Katib puts it into a request, or None for one that it leaves out."""
    kinds = ("EarlyStopped", "Failed", "MetricsUnavailable", "Succeeded", "Running")
    state = next((k for k in kinds if has_condition(item, k)), "Created")
    observation = item["status"].get("observation")
    if state == "MetricsUnavailable" or (state == "EarlyStopped" and not observation):
        return None  # suggestionclient.go, ConvertTrials
    found = wire.Trial(name=item["metadata"]["name"])
    found.status.condition = wire.TrialStatus.TrialConditionType.Value(state.upper())
    found.status.start_time = item["status"].get("startTime", "")
    found.status.completion_time = item["status"].get("completionTime", "")
    for assignment in item["spec"]["parameterAssignments"]:
        found.spec.parameter_assignments.assignments.add(**assignment)
    for metric in (observation or {}).get("metrics", ()):
        found.status.observation.metrics.add(name=metric["name"], value=metric["latest"])
    return found
