"""The local engine's end of the process server (server.py): start jobs, learn how they ended.

It knows processes and sockets, nothing of searches.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hpo_pipeline.errors import BackendError

START_SECONDS = 300


class ServerDied(BackendError):
    """The process server ended, and with it every job; a new one can take over."""


@dataclass(frozen=True)
class Exit:
    """How a job ended: `code` is the exit code, or minus the number of the signal."""

    job: str
    code: int
    max_rss_kb: int


def cause_of_death(ended: Exit, log: Path) -> str:
    """Say in words how a job died without a result."""
    if ended.code == -signal.SIGKILL:
        memory = f"{ended.max_rss_kb * 1024 / 1e9:.1f} GB"
        return f"probably for lack of memory (it had {memory})"
    if ended.code < 0:
        return f"killed by {signal.Signals(-ended.code).name}"
    try:
        lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return f"ended with exit code {ended.code}: {lines[-1] if lines else 'it wrote nothing'}"


def start_process(
    connection: socket.socket, log: IO[bytes], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a server on its end of a connection; it ends with this process."""
    return subprocess.Popen(
        [
            sys.executable,
            "-P",  # files in the current folder are not imported
            "-m",
            "hpo_pipeline.engines.local.server",
            str(connection.fileno()),
            str(os.getpid()),
        ],
        pass_fds=[connection.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        start_new_session=True,
    )


class ProcessServer:
    """A running server; `connection` becomes readable when there is something to `poll`."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self.connection, theirs = socket.socketpair()
        self._buffer = b""
        self._log = log
        self.pids: dict[str, int] = {}
        with theirs, log.open("ab") as stream:
            self._process = start_process(theirs, stream, {**os.environ, **environment})
        self._is_ready = False

    def wait_until_ready(self) -> None:
        """Wait for the server to have loaded everything.

        Raises:
            BackendError: it ended instead.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            while not self._is_ready:
                if not selector.select(timeout=START_SECONDS):
                    raise BackendError(f"the process server did not start in {START_SECONDS} s")
                self.poll()

    def start(
        self,
        job: str,
        target: str,
        argv: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        channel: socket.socket | None = None,
    ) -> None:
        """Start a job; `channel`, if any, is handed over and may be closed here afterwards."""
        request = {
            "job": job,
            "target": target,
            "argv": list(argv),
            "log": str(log),
            "environment": dict(environment or {}),
            "has_channel": channel is not None,
        }
        self._send(request, [] if channel is None else [channel.fileno()])

    def warm(self, experiment: Path) -> None:
        """Have the server import what the trials of an experiment will need."""
        self._send({"warm": {"experiment": str(experiment)}}, [])

    def kill(self, job: str, number: signal.Signals) -> None:
        """Send a signal to a job; one that has ended is left in peace."""
        self._send({"job": job, "signal": int(number)}, [])

    def poll(self, *, wait: bool = True) -> list[Exit]:
        """Read what the server said and return the jobs that ended.

        Args:
            wait: whether to wait where it has said nothing.

        Raises:
            ServerDied: the server is gone.
        """
        try:
            content = self.connection.recv(1 << 16, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            content = b""
        if not content:
            raise ServerDied(f"the process server ended unexpectedly{self._last_words()}")
        self._buffer += content
        *lines, self._buffer = self._buffer.split(b"\n")
        return [e for line in lines if (e := self._read(json.loads(line))) is not None]

    def close(self) -> None:
        """End the server and with it every job that still runs."""
        self.connection.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self, message: dict[str, Any]) -> Exit | None:
        if "ready" in message:
            self._is_ready = True
        elif "pid" in message:
            self.pids[message["job"]] = message["pid"]
        else:
            self.pids.pop(message["job"], None)
            return Exit(message["job"], message["exit"], message["max_rss_kb"])
        return None

    def _send(self, request: dict[str, Any], descriptors: list[int]) -> None:
        content = json.dumps(request).encode() + b"\n"
        try:
            sent = socket.send_fds(self.connection, [content], descriptors)
            self.connection.sendall(content[sent:])
        except OSError as error:
            why = self._last_words()
            raise ServerDied(f"the process server ended unexpectedly{why}") from error

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else f" (exit code {self._process.poll()})"
