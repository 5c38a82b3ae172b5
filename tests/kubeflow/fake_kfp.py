"""The REST API of Kubeflow Pipelines 2.17 on loopback, as far as our commands use it.

It answers as the real API server was seen to: ids, times in whole seconds, several recurring runs
of one name, 404 for what was deleted, the words of its refusals.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Json = dict[str, Any]
STARTED = datetime.now(UTC)


class Refused(Exception):
    def __init__(self, status: int, body: Json):
        self.status, self.body = status, body


def refused(status: int, message: str) -> Refused:
    return Refused(
        status, {"code": 2, "message": f"Failed: {message}", "details": [{"message": message}]}
    )


class FakeKfp:
    """The state of an installation; `token` is the one it takes, None for any."""

    def __init__(self, token: str | None = None, denied: str = ""):
        self.token, self.denied = token, denied
        self.tables: dict[str, dict[str, Json]] = {
            "pipelines": {},
            "versions": {},
            "experiments": {},
            "recurringruns": {},
            "runs": {},
        }
        self.calls: list[tuple[str, str]] = []
        self.headers: dict[str, str] = {}  # of the last request
        self.most_active = 0
        self.deletions: list[str] = []
        self.refuses_uploads = False
        self.orphans: set[str] = set()  # recurring runs whose ScheduledWorkflow is gone
        self.before: Callable[[str, str], None] = lambda method, path: None
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def recurring(self) -> list[Json]:
        return list(self.tables["recurringruns"].values())

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [call for call in self.calls if call[0] != "GET"]

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, Json]:
        parts = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = parts.path.removeprefix("/apis/v2beta1")
        self.calls.append((method, path))
        self.headers = dict(headers)
        self.before(method, path)
        try:
            if self.token and headers.get("Authorization") != f"Bearer {self.token}":
                raise refused(401, "Failed to check authorization. User identity is empty")
            if self.denied:
                raise refused(403, self.denied)
            with self._lock:
                return 200, self._route(method, path, query, headers, body)
        except Refused as error:
            return error.status, error.body

    def _route(self, method: str, path: str, query: Json, headers: Any, body: bytes) -> Json:
        if path == "/pipelines/upload_version":
            return self._upload(query, body)
        if versions := re.fullmatch(r"/pipelines/([^/]+)/versions", path):
            found = [v for v in self.tables["versions"].values() if v["pipeline_id"] == versions[1]]
            return {"pipeline_versions": list(reversed(found))}
        _, table, *rest = path.split("/")
        rows = self.tables[table]
        if method == "GET":
            return _page(rows, table, query)
        if method == "DELETE":
            self._row(table, rest[0])
            del rows[rest[0]]
            self.deletions.append(query.get("propagation_policy", ""))  # KFP's own ends the runs
            return {}
        if rest:
            run_id, _, action = rest[0].partition(":")
            if run_id in self.orphans:
                raise refused(
                    500, f"recurring run {run_id}. Check if the scheduled workflow exists"
                )
            self._row(table, run_id)["mode"] = action.upper()
            active = [row for row in rows.values() if row["mode"] == "ENABLE"]
            self.most_active = max(self.most_active, len(active))
            return {}
        return self._create(table, json.loads(body))

    def _row(self, table: str, key: str) -> Json:
        if key not in self.tables[table]:
            raise refused(404, f"Job {key} not found")
        return self.tables[table][key]

    def _create(self, table: str, given: Json) -> Json:
        rows = self.tables[table]
        name = given["display_name"]
        is_taken = any(row["display_name"] == name for row in rows.values())
        if is_taken and table in ("pipelines", "experiments"):
            raise refused(409, f"The name {name} already exist")
        key = {"pipelines": "pipeline_id", "experiments": "experiment_id"}.get(table, "run_id")
        key = "recurring_run_id" if table == "recurringruns" else key
        new = str(uuid.uuid4())
        state = {"state": "PENDING"} if table == "runs" else {}
        rows[new] = {**given, **state, key: new, "created_at": _now()}
        return rows[new]

    def _upload(self, query: Json, body: bytes) -> Json:
        if self.refuses_uploads:
            raise Refused(400, {"error_message": "Failed to create a pipeline version"})
        text = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0].decode()
        documents = list(yaml.safe_load_all(text))
        for version in self.tables["versions"].values():
            if (version["name"], version["pipeline_id"]) == (query["name"], query["pipelineid"]):
                raise Refused(409, {"error_message": "Failed to create a pipeline version"})
        spec = documents[0] if len(documents) == 1 else {"pipeline_spec": documents[0]}
        new = str(uuid.uuid4())
        self.tables["versions"][new] = {
            "pipeline_version_id": new,
            "pipeline_id": query["pipelineid"],
            "name": query["name"],
            "created_at": _now(),
            "pipeline_spec": spec,
        }
        return self.tables["versions"][new]


def started_by(recurring: Json) -> dict[str, object]:
    """Return the parameters of a run that a recurring run starts now, as KFP 2.17 formats them."""
    macros = {"[[CurrentTime]]": f"{datetime.now(UTC):%Y%m%d%H%M%S}", "[[RunUUID]]": uuid.uuid4()}
    values = dict(recurring["runtime_config"]["parameters"])
    for name, value in values.items():
        for macro, text in macros.items():
            values[name] = value = value.replace(macro, str(text)) if type(value) is str else value
    return values


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a test cut the connection."""


def _page(rows: dict[str, Json], table: str, query: Json) -> Json:
    found = list(rows.values())
    if "filter" in query:
        (wanted,) = json.loads(query["filter"])["predicates"]
        found = [row for row in found if row[wanted["key"]] == wanted["string_value"]]
    if "experiment_id" in query:
        found = [row for row in found if row["experiment_id"] == query["experiment_id"]]
    if query.get("sort_by") == "created_at desc":
        found.sort(key=lambda row: str(row.get("created_at")), reverse=True)
    begin = int(query.get("page_token") or 0)
    end = begin + int(query.get("page_size") or 10)
    key = "recurringRuns" if table == "recurringruns" else table
    page: Json = {key: found[begin:end]} if found else {}
    return {**page, "next_page_token": str(end)} if end < len(found) else page


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _handler(kfp: FakeKfp) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: object) -> None:
            pass

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = kfp.answer(self.command, self.path, self.headers, body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer

    return Handler
