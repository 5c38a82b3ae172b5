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
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_pipeline.engines.local.server_client import ProcessServer

ADDRESS = "HPO_TEST_NURSERY"
HERE = Path(__file__)
_HERE = (sys.executable, "-S", "-P", str(HERE))  # -S: all of it is in Python's own library


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
    server = HERE.with_name("nursery_server.py")
    process = subprocess.Popen([sys.executable, "-P", str(server), address, str(os.getpid())])
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


def main(arguments: Sequence[str]) -> int:
    """Be a program, forked or with the nursery's servers."""
    first, *rest = arguments
    if first == "-m":
        return run_forked(rest[0], rest[1:])
    if first == "hpo":
        return run_forked(first, rest)
    from hpo_pipeline.cli.main import main as hpo

    use_here()
    return hpo(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
