"""Process servers in milliseconds: forked from one process that has loaded what they load.

A run starts a process server, which loads torch and transformers for ten seconds of the processor;
the tests start dozens of runs. Here one process for each worker of pytest loads them once. The
server that it forks is the real one, on a socket of its own; it is a child of the nursery and not
of the run, so what tests the death of a whole tree of processes starts `python -m hpo_pipeline`.

    python tests/nursery.py run FILE …   as `hpo run FILE …`, with a server of the nursery
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

ADDRESS = "HPO_TEST_NURSERY"
MODEL = "transformers.models.bert.modeling_bert"
"""Of most tests; the server of a run loads it, that of a fake cluster not."""
HERE = Path(__file__)


def command(*arguments: object) -> list[str]:
    """Return the command of hpo with a server of the nursery."""
    ensure()
    return [sys.executable, "-P", str(HERE), *map(str, arguments)]


@cache
def ensure() -> str:
    """Start the nursery of this process, which ends with it; return its address."""
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
        _connect(nursery, os.environ.get(ADDRESS) or ensure())
        socket.send_fds(
            nursery, [json.dumps(request).encode() + b"\n"], [connection.fileno(), log.fileno()]
        )
        return Hatched(int(nursery.recv(64)))


def _connect(nursery: socket.socket, address: str) -> None:
    """Connect as soon as it has loaded everything."""
    end = time.monotonic() + 120
    while True:
        try:
            return nursery.connect(address)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def serve(address: str, parent: int) -> None:
    """Load what servers need; fork one for each connection."""
    from hpo_pipeline.engines.local import server
    from hpo_pipeline.tasks import TASKS
    from hpo_pipeline.trial.measuring.fresh_processes import die_with_parent

    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in {MODEL, *(name for kind in TASKS.values() for name in kind.measured_by)}:
        importlib.import_module(module)
    server.load_modules()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    here = os.getpid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            client, _ = listener.accept()
            content, descriptors, _, _ = socket.recv_fds(client, 1 << 20, 2)
            while not content.endswith(b"\n"):
                content += client.recv(1 << 20)
            pid = os.fork()
            if pid == 0:
                listener.close()
                client.close()
                die_with_parent(here)
                _become_server(json.loads(content), *descriptors)
            client.sendall(str(pid).encode())
            client.close()
            for descriptor in descriptors:
                os.close(descriptor)


def _become_server(request: dict, connection: int, log: int) -> None:
    from hpo_pipeline.engines.local.server import Server

    code = 1
    try:
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:0] = [entry for entry in added if entry and entry not in sys.path]
        Server(socket.socket(fileno=connection)).serve()
        code = 0
    finally:
        os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Be the nursery, or hpo with it."""
    if arguments[0] == "--serve":
        serve(arguments[1], int(arguments[2]))
    from hpo_pipeline.cli.main import main as hpo
    from hpo_pipeline.engines.local import server_client

    server_client.start_process = start_process
    return hpo(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
