"""The server of `hpo serve`: KServe's first protocol over HTTP, on the loopback by default.

GET  /v1/models/NAME           whether it is ready
POST /v1/models/NAME:predict   {"instances": [TEXT, …]} gives {"predictions": [ANSWER, …]},
                               with the answers of `hpo predict --json`
GET  /metrics                  requests and their time, and what `hpo measure` found, for Prometheus

It is for trying a model and for the pods that `hpo render --serving` writes: one request is run at
a time, as latency was measured.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hpo_pipeline.data.unlabelled import inputs_of_texts
from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.answers import Answer
from hpo_pipeline.trial.answering.predictor import Predictor

logger = logging.getLogger(__name__)

MAX_BYTES = 1_000_000
MAX_INSTANCES = 256
TIMEOUT = 10.0
"""Seconds that a client may be silent."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Settings:
    """Where it listens, and the name of the model in addresses."""

    host: str
    port: int
    name: str


@dataclass
class Counts:
    """What `/metrics` reports on the requests so far."""

    requests: int = 0
    faults: int = 0
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seconds: float, *, is_fault: bool) -> None:
        """Count a request."""
        with self.lock:
            self.requests += 1
            self.faults += is_fault
            self.seconds += seconds


class ModelServer(ThreadingHTTPServer):
    """Answers for one model."""

    daemon_threads = True

    def __init__(self, predictor: Predictor, settings: Settings, figures: Figures) -> None:
        """Listen, without answering yet.

        Raises:
            DataError: the address cannot be used.
        """
        self.predictor, self.settings, self.figures = predictor, settings, figures
        self.counts, self.turn = Counts(), threading.Lock()
        try:
            super().__init__((settings.host, settings.port), Handler)
        except (OSError, OverflowError) as error:
            raise DataError(
                f"hpo serve: cannot listen at {settings.host}:{settings.port} ({error}); choose "
                f"another with --host and --port"
            ) from error

    @property
    def title(self) -> str:
        """What is served, in words."""
        return self.predictor.title

    def page(self) -> str:
        """Return what Prometheus reads."""
        rows = [
            ("hpo_requests_total", "counter", self.counts.requests),
            ("hpo_request_faults_total", "counter", self.counts.faults),
            ("hpo_request_seconds_total", "counter", self.counts.seconds),
            *((f"hpo_measured_{n}", "gauge", v) for n, v in self.figures.items()),
        ]
        return "".join(f"# TYPE {n} {kind}\n{n} {value!r}\n" for n, kind, value in rows)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: ModelServer
    timeout = TIMEOUT
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer what is asked about the model."""
        name = self.server.settings.name
        if not self._is_for_us():
            return
        if self.path == "/metrics":
            self._send(200, self.server.page(), "text/plain; version=0.0.4")
        elif self.path in ("/", f"/v1/models/{name}"):
            self._answer(200, {"name": name, "ready": True, "artefact": self.server.title})
        else:
            self._answer(404, {"error": f"there are /v1/models/{name} and /metrics"})

    def do_POST(self) -> None:
        """Answer a request to the model."""
        if not self._is_for_us():
            return
        start = time.perf_counter()
        status, content = self._predicted()
        self.server.counts.add(time.perf_counter() - start, is_fault=status != 200)
        self._answer(status, content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log what was asked, for those who want to see it."""
        logger.info("%s %s", self.address_string(), format % arguments)

    def _predicted(self) -> tuple[int, dict[str, Any]]:
        name = self.server.settings.name
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True
            return 411, {"error": "a Content-Length is required"}
        if int(length) > MAX_BYTES:
            self.close_connection = True  # what was sent is not read
            return 413, {"error": f"a request has at most {MAX_BYTES:,} bytes"}
        body = self.rfile.read(int(length))
        if self.path != f"/v1/models/{name}:predict":
            return 404, {"error": f"post to /v1/models/{name}:predict"}
        try:
            given = instances(body)
            with self.server.turn:
                return 200, {"predictions": answers(self.server.predictor, given)}
        except DataError as error:
            return 400, {"error": str(error)}
        # A model may fail at what nobody thought of: its server lives on.
        except Exception as error:
            logger.exception("a request failed")
            return 500, {"error": f"the model failed: {type(error).__name__}"}

    def _is_for_us(self) -> bool:
        """Refuse what a page of another site sends to the loopback through a browser."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0].strip("[]")
        if self.server.settings.host not in LOOPBACK or host in (*LOOPBACK, ""):
            return True
        self._answer(403, {"error": f"the host {host[:80]!r} is not this machine"})
        self.close_connection = True
        return False

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, json.dumps(content), "application/json")

    def _send(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def instances(body: bytes) -> list[str | list[str]]:
    """Return the texts, or the lists of texts, of a request.

    Raises:
        DataError: it has another form.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError("a request is JSON: {'instances': ['a text']}".replace("'", '"')) from error
    given = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_INSTANCES:
        raise DataError(f"instances: must be a list of 1 to {MAX_INSTANCES} texts or pairs")
    if not all(isinstance(each, str) or _is_list_of_texts(each) for each in given):
        raise DataError("instances: each must be a text, a pair of texts, or a list of words")
    if len({isinstance(each, str) for each in given}) > 1:
        raise DataError("instances: must be all texts, or all lists of texts")
    return given


def answers(predictor: Predictor, given: list[str | list[str]]) -> list[Answer]:
    """Return the answers to the instances of a request, in the form that the model takes.

    Raises:
        DataError: the model takes another form.
    """
    form = predictor.form
    texts = [each for each in given if isinstance(each, str)]
    if texts:
        found = inputs_of_texts(texts, form)
        if len(found.values) < len(texts):
            raise DataError("instances: a text is empty; leave it out")
        return predictor.predict(found.values)
    if form.input == "words":
        return predictor.predict(given)
    if any(len(each) != 2 for each in given):
        raise DataError("instances: a list must be a pair of texts for this model")
    return predictor.of_pairs().predict(given)


def serve(predictor: Predictor, settings: Settings, figures: Figures) -> int:
    """Answer until Ctrl-C."""
    with ModelServer(predictor, settings, figures) as server:
        host, port = server.server_address[:2]
        print(
            f"{predictor.title} at http://{host!s}:{port}/v1/models/{settings.name}:predict, "
            f"figures at /metrics; Ctrl-C ends it",
            file=sys.stderr,
            flush=True,
        )
        server.serve_forever()
    return 0


def _is_list_of_texts(given: object) -> bool:
    return isinstance(given, list) and bool(given) and all(isinstance(g, str) for g in given)
