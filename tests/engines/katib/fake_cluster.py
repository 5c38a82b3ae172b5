"""A cluster in memory with a Katib that keeps to the rules of the real one.

It runs the real trial command on the process server, and keeps what trials push in a database of
its own.
"""

from __future__ import annotations

import copy
import itertools
import re
import select
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from hpo_pipeline.engines.kubernetes.api import CONFIG_MAPS, EXPERIMENTS, JOBS, PODS, Kind
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.trial.wire import katib_pb2_grpc
from tests.engines.katib.fake_database import FakeDatabase, serve
from tests.engines.katib.fake_katib import FakeKatib


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
        self.pool, self.database_port = serve(
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

    def wake(self):
        """Let all that wait for an event look at once."""
        with self.changed:
            self.changed.notify_all()

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


def _secret(variable):
    return (variable.get("valueFrom") or {}).get("secretKeyRef")


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
