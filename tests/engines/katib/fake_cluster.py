"""A cluster in memory with a Katib that keeps to the rules of the real one.

It asks our real services over gRPC, fills the placeholders of the trial template, runs the real
trial command on the process server, and keeps what trials push in a database of its own. What
Katib 0.19 does, and where, is in the comments.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
import re
import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import grpc

from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL
from hpo_pipeline.engines.katib.services.db_manager import Database
from hpo_pipeline.engines.katib.services.stopping import StoppingService
from hpo_pipeline.engines.katib.services.suggestion import StoppingBeside, SuggestionService
from hpo_pipeline.engines.katib.status import is_complete
from hpo_pipeline.engines.kubernetes.api import CONFIG_MAPS, EXPERIMENTS, JOBS, PODS, TRIALS, Kind
from hpo_pipeline.engines.kubernetes.conditions import has_condition
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.trial.wire import katib_pb2 as wire
from hpo_pipeline.trial.wire import katib_pb2_grpc

COMPLETE = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
TERMINAL = ("Succeeded", "Failed", "MetricsUnavailable", "EarlyStopped")


class FakeDatabase(katib_pb2_grpc.DBManagerServicer):
    """Katib's database: rows of (trial, time, name, value) in the order they came."""

    def __init__(self):
        self.rows: list[tuple[str, str, str]] = []

    def ReportObservationLog(self, request, context):
        logs = request.observation_log.metric_logs
        self.rows += [(request.trial_name, log.metric.name, log.metric.value) for log in logs]
        return wire.ReportObservationLogReply()

    def GetObservationLog(self, request, context):
        log = wire.ObservationLog()
        for trial, name, value in list(self.rows):
            if trial == request.trial_name and name == request.metric_name:
                log.metric_logs.add(metric=wire.Metric(name=name, value=value))
        return wire.GetObservationLogReply(observation_log=log)


class FakeCluster:
    """The API server, and the controllers of Katib and of jobs."""

    def __init__(self, server, folder: Path):
        self.folder = folder
        self.storage = folder / "storage"
        self.storage.mkdir(parents=True)
        self.server = server
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.objects: dict[tuple[str, str], dict] = {}
        self.events: list[tuple[int, str, str, dict]] = []
        self.versions = itertools.count(1)
        self.exits: dict[str, int] = {}
        self.started: set[str] = set()
        self.database = FakeDatabase()
        self.pool, self.database_port = _serve(
            lambda s: katib_pb2_grpc.add_DBManagerServicer_to_server(self.database, s)
        )
        self.controllers: dict[str, FakeKatib] = {}
        self.is_closed = False
        self.failures: list[ClusterError] = []
        self.reaper = threading.Thread(target=self._reap, daemon=True)
        self.reaper.start()

    def close(self):
        # A trial that outlives this cluster would end in the next one, under the same name.
        end = time.monotonic() + 10
        for name in self.started - self.exits.keys():
            self.server.kill(name, 9)
        while self.started - self.exits.keys() and time.monotonic() < end:
            time.sleep(0.05)
        self.is_closed = True
        for controller in self.controllers.values():
            controller.close()
        self.pool.stop(None)
        self.reaper.join()  # the server is the next test's

    # The API, as katib/api.py has it.

    def get(self, kind: Kind, namespace: str, name: str):
        with self.lock:
            self._fail_if_asked()
            try:
                return copy.deepcopy(self.objects[kind.plural, name])
            except KeyError:
                raise ClusterError(f'{kind.plural} "{name}" not found', status=404) from None

    def list(self, kind: Kind, namespace: str, *, labels: str = "", fields: str = ""):
        with self.lock:
            self._fail_if_asked()
            found = [
                copy.deepcopy(item)
                for (plural, _), item in self.objects.items()
                if plural == kind.plural and _carries(item, labels)
            ]
            return {"items": found, "metadata": {"resourceVersion": str(next(self.versions))}}

    def create(self, kind: Kind, namespace: str, body):
        if kind.plural in ("selfsubjectaccessreviews", "localsubjectaccessreviews"):
            return {"status": {"allowed": True}}
        with self.lock:
            self._fail_if_asked()
            name = body["metadata"]["name"]
            if (kind.plural, name) in self.objects:
                raise ClusterError(f'{kind.plural} "{name}" already exists', status=409)
            item = copy.deepcopy(body)
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            item["metadata"]["creationTimestamp"] = now
            self._store(kind.plural, item, "ADDED")
            item["metadata"]["uid"] = f"uid-{next(self.versions)}"
            if kind == EXPERIMENTS:
                self.controllers[name] = FakeKatib(self, name)
            if kind == JOBS:
                self.run_work(item)
            if kind == CONFIG_MAPS:
                for file, text in body["data"].items():
                    (self.folder / name).mkdir(exist_ok=True)
                    text = text.replace("/storage", str(self.storage))
                    (self.folder / name / file).write_text(text, "utf-8")
            return copy.deepcopy(item)

    def patch(self, kind: Kind, namespace: str, name: str, change, *, subresource: str = ""):
        with self.lock:
            item = self.get(kind, namespace, name)
            if isinstance(change, list):
                for operation in change:
                    _apply(item, operation)
            else:
                version = change.get("metadata", {}).get("resourceVersion")
                if version not in (None, item["metadata"]["resourceVersion"]):
                    raise ClusterError("the object has been modified", status=409)
                _merge(item, change)
            self._store(kind.plural, item, "MODIFIED")
            return item

    def delete(self, kind: Kind, namespace: str, name: str):
        with self.lock:
            item = self.get(kind, namespace, name)
            del self.objects[kind.plural, name]
            self._note(kind.plural, item, "DELETED")
        if kind == EXPERIMENTS:
            self.controllers[name].close()

    def watch(self, kind: Kind, namespace: str, *, labels: str = "", since: str):
        seen, end = int(since), time.monotonic() + 2
        while time.monotonic() < end and not self.is_closed:
            with self.changed:
                self._fail_if_asked()
                found = [e for e in self.events if e[0] > seen and e[1] == kind.plural]
                if not found:
                    self.changed.wait(0.2)
            for version, _, event, item in found:
                seen = version
                if _carries(item, labels):
                    yield event, copy.deepcopy(item)

    def log(self, namespace: str, pod: str, *, container: str, follow: bool = False, tail: int = 0):
        path = self.folder / "logs" / pod
        position = 0
        while True:
            has_ended = not follow or pod in self.exits
            text = path.read_text("utf-8", errors="replace") if path.exists() else ""
            *lines, _ = text[position:].split("\n")
            for line in lines:
                position += len(line) + 1
                yield line
            if has_ended:
                return
            time.sleep(0.05)

    # Beneath it.

    def fail_next(self, *errors: ClusterError):
        """Let the next requests fail, as a broken connection would."""
        with self.lock:
            self.failures += errors

    def _fail_if_asked(self):
        if self.failures:
            raise self.failures.pop(0)

    def run_job(self, job):
        """Start the process of a trial's job, and show it as a pod."""
        name = job["metadata"]["name"]
        container, log = self.show_pod(job)
        with self.lock:
            self.objects[JOBS.plural, name] = job
        self.started.add(name)
        environment = {e["name"]: self.secret(e) for e in container["env"] if _secret(e)}
        ours = {e["name"]: e.get("value") for e in container["env"] if e["name"].startswith("HPO_")}
        environment |= {name: value for name, value in ours.items() if value is not None}
        self.server.start(name, "trial", container["args"], log=log, environment=environment)

    def secret(self, variable):
        """Return the value of a variable from a Secret, for which a pod waits."""
        source = _secret(variable)
        while not self.is_closed:
            with self.lock:
                found = self.objects.get(("secrets", source["name"]))
            if found is not None:
                return found["stringData"][source["key"]]
            time.sleep(0.01)
        return ""

    def run_work(self, job):
        """Start the process of a job around the search, and show it as a pod."""
        name = job["metadata"]["name"]
        container, log = self.show_pod(job)
        config = job["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
        answer = log.with_suffix(".answer")
        answer.unlink(missing_ok=True)
        arguments = [
            re.sub(r"^/dev/termination-log$", str(answer), self.local(argument, config))
            for argument in container["args"]
        ]
        self.started.add(name)
        self.server.start(name, "job", arguments, log=log)

    def local(self, argument: str, config: str) -> str:
        """Return an argument with the paths of this machine."""
        argument = re.sub(r"^/etc/hpo", str(self.folder / config), argument)
        return re.sub(r"^/storage", str(self.storage), argument)

    def show_pod(self, job):
        name = job["metadata"]["name"]
        container = job["spec"]["template"]["spec"]["containers"][0]
        log = self.folder / "logs" / name
        log.parent.mkdir(exist_ok=True)
        pod = {
            "metadata": {
                "name": name,
                "uid": str(next(self.versions)),
                "creationTimestamp": datetime.now(UTC).isoformat(),
                "labels": {
                    **job["spec"]["template"]["metadata"]["labels"],
                    JOB_LABEL: name,
                },
            },
            "spec": {"containers": [container]},
            "status": {"phase": "Running"},
        }
        with self.lock:
            self._store(PODS.plural, pod, "ADDED")
        return container, log

    def _reap(self):
        while not self.is_closed:
            readable, _, _ = select.select([self.server.connection], [], [], 0.1)
            if not readable:
                continue
            for ended in self.server.poll():
                self.exits[ended.job] = ended.code
                self._end_pod(ended.job, ended.code)

    def _end_pod(self, name, code):
        with self.lock:
            pod = self.objects.get((PODS.plural, name))
            if pod is None:
                return  # of an earlier cluster on the same server
            log = self.folder / "logs" / name
            answer = log.with_suffix(".answer")
            lines = log.read_text("utf-8").splitlines() if log.exists() else []
            message = "\n".join(lines[-20:]) if code else ""
            message = answer.read_text("utf-8") if answer.exists() else message
            code = code if code >= 0 else 128 - code
            state = {"terminated": {"exitCode": code, "message": message}}
            pod["status"] = {
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [
                    {"name": "trial", "image": "", "imageID": "hpo-trial@sha256:1", "state": state}
                ],
            }
            self._store(PODS.plural, pod, "MODIFIED")
            job = self.objects.get((JOBS.plural, name))
            if job is not None and "status" not in job:
                kind = "Failed" if code else "Complete"
                condition = {"type": kind, "status": "True", "message": "the pod ended"}
                job["status"] = {"conditions": [condition]}
                self._store(JOBS.plural, job, "MODIFIED")

    def _store(self, plural, item, event):
        item["metadata"]["resourceVersion"] = str(next(self.versions))
        self.objects[plural, item["metadata"]["name"]] = item
        self._note(plural, item, event)

    def _note(self, plural, item, event):
        item["metadata"]["resourceVersion"] = str(version := next(self.versions))
        self.events.append((version, plural, event, copy.deepcopy(item)))
        self.changed.notify_all()


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
        self.stopping_server, self.stopping_port = _serve(self.stopping.add_to, port)
        beside = StoppingBeside(f"127.0.0.1:{self.stopping_port}")
        service = SuggestionService(beside)
        self.suggestion_server, port = _serve(
            lambda s: katib_pb2_grpc.add_SuggestionServicer_to_server(service, s)
        )
        self.suggestion = katib_pb2_grpc.SuggestionStub(grpc.insecure_channel(f"127.0.0.1:{port}"))

    def close(self):
        self.ended.set()
        self.suggestion_server.stop(None)
        self.stopping_server.stop(None)

    def run(self):
        if not self.validate():
            return
        while not self.ended.wait(0.05):
            try:
                self.stopping.check()
                if self.reconcile():
                    break
            except ClusterError:
                continue
        self.suggestion_server.stop(None)  # resumePolicy Never
        self.stopping_server.stop(None)
        while not self.ended.wait(0.05):  # the controller of the trials goes on
            for trial in self.trials():
                self.update(trial)

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


def _secret(variable):
    return (variable.get("valueFrom") or {}).get("secretKeyRef")


def _serve(add, port=0):
    server = grpc.server(ThreadPoolExecutor(8))
    add(server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def _carries(item, labels: str) -> bool:
    """Return whether an item fits a selector of `name=value` and `name` parts."""
    own = item["metadata"].get("labels") or {}
    wanted = [part.partition("=") for part in labels.split(",") if part]
    return all(own.get(n) == v if equals else n in own for n, equals, v in wanted)


def _merge(item, change):
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(item.get(name), dict):
            _merge(item[name], value)
        else:
            item[name] = copy.deepcopy(value)


def _apply(item, operation):
    *parts, last = operation["path"].strip("/").split("/")
    for part in parts:
        item = item[part]
    if operation["op"] == "test":
        if item[last] != operation["value"]:
            raise ClusterError("the test failed", status=409)
    elif last == "-":
        item.append(operation["value"])
    else:
        item[last] = operation["value"]
