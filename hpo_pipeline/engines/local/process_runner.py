"""Trials as processes of this machine: children of the process server, each with a channel.

A trial reports each evaluation on its channel and waits for `go` or `stop`.
"""

from __future__ import annotations

import json
import selectors
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.local import hardware
from hpo_pipeline.engines.local.server_client import Exit, ProcessServer, cause_of_death
from hpo_pipeline.engines.loop.runner import Ended, Evaluated, Event, Noted, Resumed, TrialStart
from hpo_pipeline.experiment.space import render
from hpo_pipeline.results.files import DISK_FULL_EXIT
from hpo_pipeline.results.trial import Point, read_trial
from hpo_pipeline.trial.command import TrialCommand


@dataclass
class _Process:
    """A trial's end of the channel, and the device that it uses."""

    name: str
    slot: int
    channel: socket.socket
    buffer: bytes = b""
    events: list[Event] = field(default_factory=list)


class ProcessRunner:
    """Runs trials in a run folder on a server that is ready; `close` it in any case."""

    def __init__(
        self,
        context: RunContext,
        server: ProcessServer,
        interruption: Interruption,
        *,
        dataset: Path,
    ) -> None:
        self._folder = context.folder
        self._tracing = context.tracing
        self._budget = context.experiment.budget
        self._per_gpu = context.experiment.local.trials_per_gpu
        self._server = server
        self._dataset = dataset
        self._gpus = hardware.gpus()
        self._processes: dict[str, _Process] = {}
        self._events: list[Event] = []
        self._selector = selectors.DefaultSelector()
        self._watch(server.connection, self._on_server)
        self._watch(interruption.wake, interruption.check)

    @property
    def slots(self) -> int:
        """How many trials may run at a time: no more than the GPUs take, where there are any."""
        if self._gpus:
            return min(self._budget.parallel, len(self._gpus) * self._per_gpu)
        return self._budget.parallel

    def start(self, trial: TrialStart) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        taken = {process.slot for process in self._processes.values()}
        slot = next(i for i in range(self.slots) if i not in taken)
        command = TrialCommand(
            experiment=self._folder.experiment_file,
            dataset=self._dataset,
            output=self._folder.trials,
            name=trial.name,
            number=trial.number,
            assignments={n: render(v) for n, v in trial.assignments.items()},
            resume=None if trial.parent is None else self._folder.trial(trial.parent),
            seed=trial.seed,
        )
        with theirs:
            self._server.start(
                trial.name,
                "trial",
                command.argv(),
                log=self._log(trial.name),
                environment={
                    **hardware.visible(self._gpus, slot),
                    **self._tracing.environment(),
                },
                channel=theirs,
            )
        process = _Process(trial.name, slot, ours)
        self._processes[trial.name] = process
        self._watch(ours, lambda: self._on_channel(process))

    def events(self, timeout: float) -> list[Event]:
        for key, _ in self._selector.select(timeout=timeout):
            key.data()
        found, self._events = self._events, []
        return found

    def stop(self, name: str, *, now: bool = False) -> None:
        self._server.kill(name, signal.SIGKILL if now else signal.SIGTERM)

    def close(self) -> None:
        """Close the channels; trials that still run end with the server."""
        self._selector.close()
        for process in self._processes.values():
            process.channel.close()

    def _on_channel(self, process: _Process) -> None:
        """Read what a trial reports."""
        if process.channel.fileno() < 0:
            return  # the server reported its end in the same round of the selector
        try:
            content = process.channel.recv(1 << 16)
        except (BlockingIOError, ConnectionError):
            content = b""
        if not content:
            self._selector.unregister(process.channel)  # the server tells how it ended
            return
        process.buffer += content
        *lines, process.buffer = process.buffer.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["event"] == "evaluated":
                point = Point(**message["point"])
                self._events.append(Evaluated(process.name, point, _answer(process.channel)))
            elif message["event"] == "resumed":
                curve = tuple(Point(**point) for point in message["curve"])
                self._events.append(Resumed(process.name, curve))
            else:
                self._events.append(Noted(process.name, message["event"]))

    def _on_server(self) -> None:
        for ended in self._server.poll():
            process = self._processes.pop(ended.job, None)
            if process is not None:
                self._on_exit(process, ended)

    def _on_exit(self, process: _Process, ended: Exit) -> None:
        if self._is_watched(process.channel):
            self._on_channel(process)
        if self._is_watched(process.channel):
            self._selector.unregister(process.channel)
        process.channel.close()
        if ended.code == DISK_FULL_EXIT:
            raise self._folder.disk_full()
        self._events.append(
            Ended(
                process.name,
                read_trial(self._folder.trial(process.name)),
                reason=cause_of_death(ended, self._log(process.name)),
                was_killed=ended.code == -signal.SIGKILL,
                was_stopped=ended.code == -signal.SIGTERM,
            )
        )

    def _log(self, name: str) -> Path:
        return self._folder.trial(name) / "log.txt"

    def _watch(self, source: Any, react: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, react)

    def _is_watched(self, channel: socket.socket) -> bool:
        return channel in {key.fileobj for key in self._selector.get_map().values()}


def _answer(channel: socket.socket) -> Callable[[bool], None]:
    def answer(is_over: bool) -> None:
        try:
            channel.send(b"stop\n" if is_over else b"go\n")
        except OSError:
            return  # the trial has just died; the server tells how

    return answer
