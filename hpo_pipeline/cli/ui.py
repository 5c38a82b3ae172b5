"""The commands that show runs to a person in a browser: `hpo ui`."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
from pathlib import Path

from hpo_pipeline.cli.watching import port_number
from hpo_pipeline.errors import MonitoringError

PORT = 8765
MOST_CONNECTIONS = 64
"""Requests beyond these are refused with 503 at once, so that many open pages end nothing."""
TOKEN_VARIABLE = "HPO_UI_TOKEN"
LEAST_TOKEN = 16


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `hpo`."""
    ui = commands.add_parser("ui", help="show the runs below a folder on a live page")
    ui.set_defaults(command=_ui)
    ui.add_argument("runs", type=Path, nargs="?", default=Path("runs"), help="(runs)")
    ui.add_argument("--port", type=port_number, default=PORT, help=f"({PORT})")
    ui.add_argument("--host", default="127.0.0.1", help="(127.0.0.1); others need a token")
    ui.add_argument("--registry", metavar="URI", help="whose models are shown (models)")


def _ui(options: argparse.Namespace) -> int:
    try:
        import uvicorn

        from hpo_pipeline.monitoring.live_server import LivePage, application
    except ImportError as error:
        raise MonitoringError(
            "the page needs the packages starlette and uvicorn: pip install 'hpo-pipeline[ui]'"
        ) from error
    from hpo_pipeline.monitoring.run_cache import RunCache
    from hpo_pipeline.registry import open_registry
    from hpo_pipeline.registry.server.credentials import is_loopback

    if not options.runs.is_dir():
        raise MonitoringError(
            f"{options.runs}: there is no such folder of runs; `hpo run` makes one, or name another"
        )
    token = None if is_loopback(options.host) else _token()
    listener = _listener(options.host, options.port)
    port = listener.getsockname()[1]
    page = LivePage(
        RunCache(options.runs),
        frozenset({options.host, "localhost", "127.0.0.1", "[::1]"}),
        token,
        lambda: open_registry(options.registry),
    )
    config = uvicorn.Config(
        application(page),
        log_level="warning",
        access_log=False,  # an address may hold the token
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=10,
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{host}:{port}/" + (f"?token={token}" if token else "")
    print(f"open {address}\nCtrl-C ends it", flush=True)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        return 0
    return 0


def _token() -> str:
    found = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(32)
    if len(found) < LEAST_TOKEN or not found.isascii() or not found.isprintable():
        raise MonitoringError(
            f"{TOKEN_VARIABLE}: must have at least {LEAST_TOKEN} printable ASCII characters; unset "
            f"it to get a random token"
        )
    return found


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise MonitoringError(
            f"{host}:{port}: the page cannot be served there ({error.strerror}); choose another "
            f"--port, or end the process that uses it"
        ) from error
