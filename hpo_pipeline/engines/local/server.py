"""The process that has torch and transformers loaded and forks a child for every job.

A fork starts in milliseconds what a new process needs seconds to import. The server itself runs
no tensor operation, for threads of a pool would not survive the fork. It dies with the engine
that started it, and its children die with it, so nothing is left behind.

Requests and answers are JSON lines on the socket whose descriptor is the first argument. A
request to start a job may carry one descriptor, which becomes the job's `--channel`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hpo_pipeline.trial.measuring.fresh_processes import die_with_parent
from hpo_pipeline.trial.reporting.tracing import preload

TARGETS = {
    "trial": "hpo_pipeline.trial.__main__",
    "job": "hpo_pipeline.jobs.__main__",
}
PRELOADED = (
    "hpo_pipeline.trial.train",
    "hpo_pipeline.trial.answering.evaluate",
    "hpo_pipeline.jobs.check",
    "hpo_pipeline.jobs.prepare",
    "hpo_pipeline.jobs.promote",
    *TARGETS.values(),
)


class Server:
    """Forks jobs on request and reports how they ended."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._jobs: dict[int, str] = {}
        self._buffer = b""
        self._descriptors: list[int] = []

    def serve(self) -> None:
        """Answer requests until the engine closes the connection."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            self._answer({"ready": True})
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._connection:
                        if not self._receive():
                            return
                    else:
                        os.read(wake_read, 4096)
                self._reap()

    def _receive(self) -> bool:
        content, descriptors, _, _ = socket.recv_fds(self._connection, 1 << 16, 16)
        if not content:
            for pid in self._jobs:
                _kill(pid, signal.SIGKILL)
            return False
        self._descriptors += descriptors
        self._buffer += content
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            self._handle(json.loads(line))
        return True

    def _handle(self, request: dict[str, Any]) -> None:
        if "signal" in request:
            for pid, name in self._jobs.items():
                if name == request["job"]:
                    _kill(pid, request["signal"])
        elif "warm" in request:
            _warm(request["warm"])
        else:
            channel = self._descriptors.pop(0) if request["has_channel"] else None
            self._start(request, channel)

    def _start(self, request: dict[str, Any], channel: int | None) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._connection.close()
            _run_job(request, channel, parent)
        self._jobs[pid] = request["job"]
        if channel is not None:
            os.close(channel)
        self._answer({"job": request["job"], "pid": pid})

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self._jobs.pop(pid, None)
            if name is not None:
                code = os.waitstatus_to_exitcode(status)
                self._answer({"job": name, "exit": code, "max_rss_kb": usage.ru_maxrss})

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return  # the engine is gone; the next receive sees it and ends the server


def _run_job(request: dict[str, Any], channel: int | None, parent: int) -> NoReturn:
    """Become the job, in the forked child; never return into the server."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        die_with_parent(parent)
        os.environ.update(request["environment"])
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        arguments = [*request["argv"], *(["--channel", str(channel)] if channel else [])]
        code = importlib.import_module(TARGETS[request["target"]]).main(arguments)
    # A child must not unwind into the server's loop, whatever happens.
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 1
        os._exit(code)


def _warm(source: dict[str, Any]) -> None:
    """Import the modules of the model that the trials will build, and of its metrics."""
    from hpo_pipeline.data.assets.source import model_source
    from hpo_pipeline.errors import HpoError
    from hpo_pipeline.experiment.loading import load
    from hpo_pipeline.tasks import TASKS
    from hpo_pipeline.tasks.inputs.base_config import base_config

    try:
        task = load(Path(source["experiment"])).task
        for module in TASKS[task.kind].measured_by:
            importlib.import_module(module)
        if TASKS[task.kind].is_own_code:
            return
        config = base_config(task, model_source(task.model))
        TASKS[task.kind].model_class(task)._model_mapping[type(config)]
        if task.lora is not None:
            importlib.import_module("peft")
    except (HpoError, KeyError, ImportError):
        return  # only a matter of speed: the trial will say what is wrong


def _kill(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def load_modules() -> None:
    """Load everything that jobs need."""
    for module in PRELOADED:
        importlib.import_module(module)
    preload()
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page it marks


def main(argv: Sequence[str]) -> int:
    """Load everything that jobs need, then serve."""
    die_with_parent(int(argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine decides what Ctrl-C means
    load_modules()
    Server(socket.socket(fileno=int(argv[0]))).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
