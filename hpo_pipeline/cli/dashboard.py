"""The command `hpo dashboard`: optuna-dashboard on the journal of a run, which it cannot change."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hpo_pipeline.cli.watching import port_number
from hpo_pipeline.errors import MonitoringError, RunFolderError

PORT = 8080
HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `hpo`."""
    parser = commands.add_parser("dashboard", help="show a run in optuna-dashboard")
    parser.set_defaults(command=_dashboard)
    parser.add_argument("run", type=Path, nargs="?", help="run folder (the latest below runs/)")
    parser.add_argument("--port", type=port_number, default=PORT, help=f"({PORT})")


def _dashboard(options: argparse.Namespace) -> int:
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise MonitoringError(
            "this needs the package optuna-dashboard: pip install 'hpo-pipeline[dashboard]'"
        ) from error
    from hpo_pipeline.results.run_folder import RunFolder, latest
    from hpo_pipeline.search.journal import read_journal

    class Quiet(WSGIRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Print no line for each request."""

    folder = RunFolder(options.run or latest(Path("runs")))
    folder.experiment()
    if not folder.journal.is_file():
        raise RunFolderError(
            f"{folder.path}: has no journal of Optuna: its search has not begun, or ran on Katib; "
            f"`hpo ui` shows every run"
        )
    application = guarded(wsgi(read_journal(folder.journal)))
    try:
        server = make_server(HOST, options.port, application, handler_class=Quiet)
    except OSError as error:
        raise MonitoringError(
            f"{HOST}:{options.port}: the page cannot be served there ({error.strerror}); choose "
            f"another --port, or end the process that uses it"
        ) from error
    with server:
        print(f"open http://{HOST}:{server.server_port}/\nCtrl-C ends it", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def guarded(application: Application) -> Application:
    """Return an application that answers requests to this machine only (no DNS rebinding)."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if str(environ.get("HTTP_HOST", "")).rpartition(":")[0] not in NAMES:
            start("421 Misdirected Request", [("Content-Type", "text/plain")])
            return [f"this page is served as {' and '.join(NAMES)} only".encode()]
        return application(environ, start)

    return answer
