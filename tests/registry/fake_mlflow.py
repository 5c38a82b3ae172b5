"""An MLflow server in memory: parameters are written once, version numbers never come again."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from tests.registry.fake_server import FakeServer, Reply

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
Content = dict[str, Any]


def fault(code: str, message: str = "") -> Reply:
    return 404 if code == "RESOURCE_DOES_NOT_EXIST" else 400, {
        "error_code": code,
        "message": message or code,
    }


def pairs(values: dict[str, str]) -> list[Content]:
    return [{"key": key, "value": value} for key, value in values.items()]


class FakeMlflow(FakeServer):
    routes = {
        f"POST {API}/(experiments/create|runs/[a-z-]+|registered-models/create)": "post",
        f"POST {API}/(model-versions/create|registered-models/alias)": "post",
        f"DELETE {API}/(registered-models/alias|model-versions/delete)": "post",
        f"GET {API}/(experiments/get-by-name|runs/get|registered-models/[a-z]+)": "get",
        f"GET {API}/(model-versions/[a-z]+)": "get",
        f"PUT {FILES}/(.+)": "put_file",
        f"GET {FILES}/(.+)": "get_file",
        f"GET {FILES}": "list_files",
    }

    def __init__(self) -> None:
        super().__init__()
        self.experiments: list[str] = []
        self.runs: dict[str, Content] = {}
        self.models: dict[str, Content] = {}
        self.files: dict[str, bytes] = {}
        self.collisions = 0
        self.loses = ""

    def post(self, path: str, query: dict[str, str], body: bytes) -> Reply:
        content = json.loads(body) if body else query
        delete = "delete_" if path == "registered-models/alias" and "version" not in content else ""
        return getattr(self, delete + re.sub("[/-]", "_", path))(content)

    def get(self, path: str, query: dict[str, str], body: bytes) -> Reply:
        return getattr(self, re.sub("[/-]", "_", path))(query)

    def experiments_create(self, content: Content) -> Reply:
        if content["name"] in self.experiments:
            return fault("RESOURCE_ALREADY_EXISTS")
        self.experiments.append(content["name"])
        return 200, {"experiment_id": str(len(self.experiments))}

    def experiments_get_by_name(self, query: Content) -> Reply:
        number = str(self.experiments.index(query["experiment_name"]) + 1)
        return 200, {
            "experiment": {"experiment_id": number, "name": "", "lifecycle_stage": "active"}
        }

    def runs_create(self, content: Content) -> Reply:
        own = uuid.uuid4().hex  # the client keeps, by it, where a run's files go
        home = content["experiment_id"]
        self.runs[own] = {
            "info": {
                "run_id": own,
                "experiment_id": home,
                "status": "RUNNING",
                "lifecycle_stage": "active",
                "artifact_uri": f"mlflow-artifacts:/{home}/{own}/artifacts",
            },
            "tags": {tag["key"]: tag["value"] for tag in content.get("tags", ())},
            "params": {},
            "metrics": [],
        }
        if self.loses == "runs/create":
            self.loses = ""
            return 503, {"message": "it was done, and its answer was lost"}
        return 200, {"run": self._run(own)}

    def runs_get(self, query: Content) -> Reply:
        found = query["run_id"] in self.runs
        return (
            (200, {"run": self._run(query["run_id"])})
            if found
            else fault("RESOURCE_DOES_NOT_EXIST")
        )

    def runs_update(self, content: Content) -> Reply:
        self.runs[content["run_id"]]["info"]["status"] = content["status"]
        return 200, {"run_info": self.runs[content["run_id"]]["info"]}

    def runs_delete(self, content: Content) -> Reply:
        self.runs[content["run_id"]]["info"]["lifecycle_stage"] = "deleted"
        return 200, {}

    def runs_log_parameter(self, content: Content) -> Reply:
        run = self.runs[content["run_id"]]
        if run["info"]["lifecycle_stage"] == "deleted":
            return fault("INVALID_PARAMETER_VALUE", "must be in the 'active' state")
        if len(content["value"]) > 6000:
            return fault("INVALID_PARAMETER_VALUE", "exceeds the maximum length of 6000")
        if run["params"].setdefault(content["key"], content["value"]) != content["value"]:
            return fault("INVALID_PARAMETER_VALUE", "Changing param values is not allowed")
        return 200, {}

    def runs_log_batch(self, content: Content) -> Reply:
        for param in content.get("params", ()):
            status, answer = self.runs_log_parameter({**param, "run_id": content["run_id"]})
            if status != 200:
                return status, answer
        run = self.runs[content["run_id"]]
        if run["info"]["lifecycle_stage"] == "deleted":
            return fault("INVALID_PARAMETER_VALUE", "must be in the 'active' state")
        run["metrics"] += [m for m in content.get("metrics", ()) if m not in run["metrics"]]
        run["tags"] |= {tag["key"]: tag["value"] for tag in content.get("tags", ())}
        return 200, {}

    def runs_search(self, content: Content) -> Reply:
        wanted = re.findall(r"tags\.`([^`]+)` = '([^']*)'", content["filter"])
        found = [
            self._run(own)
            for own, run in self.runs.items()
            if run["info"]["lifecycle_stage"] == "active"
            and run["info"]["experiment_id"] in content["experiment_ids"]
            and all(run["tags"].get(key) == value for key, value in wanted)
        ]
        return 200, {"runs": found}

    def registered_models_create(self, content: Content) -> Reply:
        if content["name"] in self.models:
            return fault("RESOURCE_ALREADY_EXISTS")
        tags = content.get("tags", [])
        self.models[content["name"]] = {"tags": tags, "aliases": {}, "versions": {}, "last": 0}
        return 200, {"registered_model": self._model(content["name"])}

    def registered_models_get(self, query: Content) -> Reply:
        if query["name"] not in self.models:
            return fault("RESOURCE_DOES_NOT_EXIST")
        return 200, {"registered_model": self._model(query["name"])}

    def registered_models_search(self, query: Content) -> Reply:
        tag = query["filter"].split("`")[1]
        found = [n for n, m in self.models.items() if any(t["key"] == tag for t in m["tags"])]
        return 200, {"registered_models": [self._model(name) for name in found]}

    def registered_models_alias(self, content: Content) -> Reply:
        if self.collisions:
            self.collisions -= 1
            return fault("BAD_REQUEST", "UNIQUE constraint failed: registered_model_aliases")
        self.models[content["name"]]["aliases"][content["alias"]] = content["version"]
        return 200, {}

    def delete_registered_models_alias(self, content: Content) -> Reply:
        self.models[content["name"]]["aliases"].pop(content["alias"], None)
        return 200, {}

    def model_versions_create(self, content: Content) -> Reply:
        model = self.models[content["name"]]
        model["last"] += 1
        version = {**content, "version": str(model["last"]), "status": "READY"}
        model["versions"][version["version"]] = version
        return 200, {"model_version": version}

    def model_versions_get(self, query: Content) -> Reply:
        found = self.models[query["name"]]["versions"].get(query["version"])
        return (200, {"model_version": found}) if found else fault("RESOURCE_DOES_NOT_EXIST")

    def model_versions_delete(self, content: Content) -> Reply:
        del self.models[content["name"]]["versions"][content["version"]]
        return 200, {}

    def model_versions_search(self, query: Content) -> Reply:
        name, run = re.findall(r"'([^']*)'", query["filter"])
        found = self.models[name]["versions"].values() if name in self.models else ()
        return 200, {"model_versions": [v for v in found if v.get("run_id") == run]}

    def put_file(self, path: str, query: dict[str, str], body: bytes) -> Reply:
        self.files[path] = body
        return 200, {}

    def get_file(self, path: str, query: dict[str, str], body: bytes) -> Reply:
        return (200, self.files[path]) if path in self.files else (404, {})

    def list_files(self, query: dict[str, str], body: bytes) -> Reply:
        prefix = query["path"] + "/"
        inner = [path.removeprefix(prefix) for path in self.files if path.startswith(prefix)]
        names = {path.partition("/")[0]: "/" in path for path in inner}
        return 200, {"files": [{"path": n, "is_dir": is_dir} for n, is_dir in names.items()]}

    def _run(self, own: str) -> Content:
        run = self.runs[own]
        return {
            "info": run["info"],
            "data": {"params": pairs(run["params"]), "tags": pairs(run["tags"])},
        }

    def _model(self, name: str) -> Content:
        model = self.models[name]
        aliases = [{"alias": a, "version": v} for a, v in model["aliases"].items()]
        latest = list(model["versions"].values())[-1:]
        return {"name": name, "tags": model["tags"], "aliases": aliases, "latest_versions": latest}
