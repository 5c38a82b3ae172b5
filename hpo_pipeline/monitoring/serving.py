"""HTTP for Prometheus: /metrics, /healthz and /readyz, or a file for the textfile collector."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import generate_latest
from prometheus_client.exposition import make_wsgi_app
from prometheus_client.registry import CollectorRegistry

from hpo_pipeline.errors import MonitoringError

MOST_REQUESTS = 8
"""How many requests are answered side by side; further ones wait in the queue of the socket."""
REQUEST_SECONDS = 10.0
LOOPBACK = "127.0.0.1"
_READY = ("200 OK", "ready")
_NOT_READY = ("503 Service Unavailable", "the first list is not complete yet")


@contextmanager
def metrics_server(
    registry: CollectorRegistry,
    *,
    host: str = LOOPBACK,
    port: int,
    is_ready: Callable[[], bool] = lambda: True,
) -> Iterator[int]:
    """Serve metrics in a thread while the block runs; yields the port.

    Raises:
        MonitoringError: the address cannot be used.
    """
    application = _application(registry, is_ready)
    try:
        server = make_server(host, port, application, _Server, _Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MonitoringError(
            f"{host}:{port}: metrics cannot be served there ({reason}); choose another port, or "
            f"end the process that uses it"
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="metrics")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_textfile(registry: CollectorRegistry, path: Path) -> None:
    """Write the metrics to a file, which the textfile collector of the node exporter reads.

    Raises:
        MonitoringError: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(generate_latest(registry))
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise MonitoringError(
            f"{path}: metrics cannot be written ({error.strerror}); choose another --metrics-file"
        ) from error


def _application(registry: CollectorRegistry, is_ready: Callable[[], bool]) -> Any:
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        path = environ.get("PATH_INFO", "/")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _text(start, "405 Method Not Allowed", "only GET")
        if path == "/metrics":
            return metrics(environ, start)
        if path == "/healthz":
            return _text(start, "200 OK", "alive")
        if path == "/readyz":
            return _text(start, *(_READY if is_ready() else _NOT_READY))
        return _text(start, "404 Not Found", "see /metrics")

    return answer


def _text(start: Callable[..., Any], status: str, text: str) -> list[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    """Answers a bounded number of requests at a time, each in a thread."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._free.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def server_bind(self) -> None:
        """Bind without asking DNS for the name of this machine, as the base class does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    """Logs nothing, and gives up on a client that says nothing."""

    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""
