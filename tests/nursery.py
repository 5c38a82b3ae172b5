"""Processes in milliseconds: forked from one that has loaded what they load.

A run starts a process server, which loads torch and transformers for ten seconds of the processor,
and so do commands such as `hpo check`; the tests start dozens of them. Here one process for each
worker of pytest loads them once. What it forks is the real thing:

- a process server, on a socket of its own; it is a child of the nursery and not of the run, so what
  tests the death of a whole tree of processes starts `python -m hpo_pipeline`;
- a program, with the streams, environment and folder of the command that asks for it, which ends
  when that does.

    python tests/nursery.py hpo run FILE …        as `hpo run FILE …`, forked
    python tests/nursery.py alone run FILE …      the same in a process of its own, to be killed
    python tests/nursery.py -m MODULE …           as `python -m MODULE …`, forked
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import io
import json
import locale
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from hpo_pipeline.engines.local.server_client import ProcessServer

ADDRESS = "HPO_TEST_NURSERY"
MODEL = "transformers.models.bert.modeling_bert"
"""Of most tests; the server of a run loads it, that of a fake cluster not."""
HERE = Path(__file__)
_HERE = (sys.executable, "-S", "-P", str(HERE))  # -S: all of it is in Python's own library


LOADED_FOR = {
    "hpo": ("hpo_pipeline.cli.running", "datasets", "optuna"),
    "hpo_pipeline.reports.html": ("hpo_pipeline.reports.html.page", "pandas", "plotly"),
    "kfp.dsl.executor_main": ("kfp.dsl.executor_main", "hpo_pipeline.kubeflow.steps", "optuna"),
}
"""What a program loads that servers do not: by them all, once one was asked for."""


def command(*arguments: object) -> list[str]:
    """Return a command that does what hpo does with these arguments, and dies with its parent."""
    ensure()
    return [*_HERE, "hpo", *map(str, arguments)]


def python() -> list[str]:
    """Return what takes the place of `python` in `python -m MODULE`, and dies with its parent."""
    ensure()
    return list(_HERE)


def killable(*arguments: object) -> list[str]:
    """Return the command of hpo as one process that takes signals, with the nursery's servers."""
    ensure()
    return [sys.executable, "-P", str(HERE), "alone", *map(str, arguments)]


@cache
def ensure() -> str:
    """Start the nursery of this process, which ends with it; return its address."""
    if address := os.environ.get(ADDRESS):
        return address
    folder = tempfile.mkdtemp(prefix="nursery-")
    address = os.environ[ADDRESS] = f"{folder}/socket"
    process = subprocess.Popen(
        [sys.executable, "-P", str(HERE), "--serve", address, str(os.getpid())]
    )
    atexit.register(_end, process, Path(folder))
    return address


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.kill()
    process.wait()
    shutil.rmtree(folder)


def use_here() -> None:
    """Have runs of this process fork their servers and the process of their report."""
    from hpo_pipeline.engines.local import server_client
    from hpo_pipeline.reports import page_process

    server_client.start_process = start_process
    page_process.command = lambda: [*python(), "-m", "hpo_pipeline.reports.html"]


class Hatched:
    """A process that is no child of this one, as far as ProcessServer needs it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return -1 if select.select([self._handle], [], [], 0)[0] else None

    def wait(self, timeout: float | None = None) -> int:
        if not select.select([self._handle], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("server", timeout or 0.0)
        return -1

    def kill(self) -> None:
        signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def __del__(self) -> None:
        os.close(self._handle)


def start_process(
    connection: socket.socket, log: IO[bytes], environment: Mapping[str, str]
) -> Hatched:
    """Have the nursery fork a server; takes the place of the function of server_client.py."""
    request = {"environment": dict(environment), "folder": os.getcwd()}
    with socket.socket(socket.AF_UNIX) as nursery:
        _ask(nursery, request, [connection.fileno(), log.fileno()])
        return Hatched(int(nursery.recv(64)))


def start_server(folder: Path) -> ProcessServer:
    """Return a process server that is ready, with its log in a folder."""
    from hpo_pipeline.engines.local.server_client import ProcessServer

    server = ProcessServer(folder / "server.log", {"OMP_NUM_THREADS": "1"})
    server.wait_until_ready()
    return server


def _ask(nursery: socket.socket, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Connect as soon as it has loaded everything, and say what is wanted."""
    address, end = ensure(), time.monotonic() + 120
    while True:
        try:
            nursery.connect(address)
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    socket.send_fds(nursery, [json.dumps(request).encode() + b"\n"], descriptors)


def run_forked(program: str, arguments: Sequence[str]) -> int:
    """Have the nursery run a program with the streams of this process; return its exit code."""
    request = {"program": program, "arguments": list(arguments), "folder": os.getcwd()}
    with socket.socket(socket.AF_UNIX) as nursery:
        _ask(nursery, {**request, "environment": dict(os.environ)}, [0, 1, 2])
        return int(nursery.recv(64) or b"1")


def serve(address: str, parent: int) -> None:
    """Load what servers need; fork one, or a program, for each connection."""
    from hpo_pipeline.engines.local import server
    from hpo_pipeline.tasks import TASKS
    from hpo_pipeline.trial.measuring.fresh_processes import die_with_parent

    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in {MODEL, *(name for kind in TASKS.values() for name in kind.measured_by)}:
        importlib.import_module(module)
    server.load_modules()
    use_here()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    here = os.getpid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        while True:
            client, _ = listener.accept()
            content, descriptors, _, _ = socket.recv_fds(client, 1 << 20, 3)
            while not content.endswith(b"\n"):
                content += client.recv(1 << 20)
            request = json.loads(content)
            for module in LOADED_FOR.get(request.get("program", ""), ()):
                importlib.import_module(module)
            pid = os.fork()
            if pid == 0:
                listener.close()
                die_with_parent(here)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                if "program" in request:
                    _keep(request, client, descriptors)
                client.close()
                _become(request, partial(_serve, *descriptors))
            if "program" not in request:
                client.sendall(str(pid).encode())
            client.close()
            for descriptor in descriptors:
                os.close(descriptor)


def _keep(request: dict[str, Any], client: socket.socket, streams: Sequence[int]) -> NoReturn:
    """Fork a program and tell its client how it ended; if the client goes, end the program."""
    from hpo_pipeline.trial.measuring.fresh_processes import die_with_parent

    here = os.getpid()
    pid = os.fork()
    if pid == 0:
        client.close()
        die_with_parent(here)
        _become(request, partial(_program, request, streams))
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(pid)
    if ended not in select.select([ended, client], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        client.sendall(str(code).encode())
    os._exit(0)


def _become(request: dict[str, Any], play: Callable[[], int]) -> NoReturn:
    """Be what was asked for, in the folder and the environment of who asked."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:0] = [entry for entry in added if entry and entry not in sys.path]
        code = play()
    finally:
        os._exit(code)


def _serve(connection: int, log: int) -> int:
    from hpo_pipeline.engines.local.server import Server

    os.dup2(log, 1)
    os.dup2(log, 2)
    Server(socket.socket(fileno=connection)).serve()
    return 0


def _program(request: dict[str, Any], streams: Sequence[int]) -> int:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    text = partial(io.open, encoding=locale.getpreferredencoding(False), closefd=False)
    sys.stdin, sys.stdout, sys.stderr = text(0), text(1, "w"), text(2, "w", buffering=1)
    code: object = 0
    try:
        if request["program"] == "hpo":
            from hpo_pipeline.cli.main import main

            code = main(request["arguments"])
        else:
            sys.argv = [request["program"], *request["arguments"]]
            module = importlib.util.find_spec(request["program"])
            if module is not None and module.submodule_search_locations is None:
                sys.modules.pop(module.name, None)  # or runpy warns of it
            runpy.run_module(request["program"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # what the interpreter does at its end, as far as programs notice
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def main(arguments: Sequence[str]) -> int:
    """Be the nursery, or a program with it."""
    first, *rest = arguments
    if first == "--serve":
        serve(rest[0], int(rest[1]))
    if first == "-m":
        return run_forked(rest[0], rest[1:])
    if first == "hpo":
        return run_forked(first, rest)
    from hpo_pipeline.cli.main import main as hpo

    use_here()
    return hpo(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
