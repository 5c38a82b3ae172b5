"""An HTTP server on loopback that answers JSON from a table of paths; the base of the fakes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Reply = tuple[int, Any]
Route = Callable[..., Reply]


class FakeServer:
    """Answers `METHOD pattern` by a method, once `busy` requests were turned away."""

    routes: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.busy = 0
        self.refusal = 0
        self.asked: list[str] = []
        self.headers: Mapping[str, str] = {}

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        parts = urlsplit(path)
        with self.lock:
            self.asked.append(f"{method} {parts.path}")
            if self.refusal:
                return self.refusal, b"You are not authenticated."
            if self.busy:
                self.busy -= 1
                return 503, {"message": "try later"}
            for route, name in self.routes.items():
                wanted, pattern = route.split(" ")
                if method == wanted and (found := re.fullmatch(pattern, unquote(parts.path))):
                    given = {k: v for k, v in parse_qsl(parts.query)}
                    return getattr(self, name)(*found.groups(), given, body)
        return 404, {"message": f"no route {method} {parts.path}"}


@contextmanager
def served(fake: FakeServer) -> Iterator[str]:
    """Serve a fake and yield its `HOST:PORT`."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fake.headers = dict(self.headers)
            status, content = fake.answer(self.command, self.path, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Location", "/login")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
