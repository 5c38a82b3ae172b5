"""The engine of this machine: trials as processes, side by side, until the budget is spent.

It asks the study what to try, starts trials, answers each of their evaluations with go or stop,
and tells the study how they ended. Whatever has ended is on disk before anything else happens,
so that a run that is cut off goes on where it was.
"""

from __future__ import annotations

import errno
import json
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.local import hardware
from hpo_pipeline.engines.local.duplicates import Duplicates, take_over
from hpo_pipeline.engines.local.reruns import Reruns
from hpo_pipeline.engines.local.retention import remove_unneeded
from hpo_pipeline.engines.local.server_client import Exit, ProcessServer, cause_of_death
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import render
from hpo_pipeline.report.terminal import Progress
from hpo_pipeline.results.files import DISK_FULL_EXIT, RESULT_FILE, write_json
from hpo_pipeline.results.ranking import rank, violation
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Point, Trial, TrialState, read_trial
from hpo_pipeline.search.journal import open_journal
from hpo_pipeline.search.study import Study, Suggestion
from hpo_pipeline.trial.command import TrialCommand

MAX_KILLS = 3
"""A trial killed from outside (SIGKILL) this often is given up: it is probably out of memory."""
TICK = 0.5


@dataclass
class Running:
    """A trial that runs: its end of the channel, and what it reported so far."""

    suggestion: Suggestion
    name: str
    slot: int
    channel: socket.socket
    buffer: bytes = b""
    curve: list[Point] = field(default_factory=list)

    def trial(self) -> Trial:
        """Return the trial as it stands."""
        return Trial(
            self.name,
            self.suggestion.number,
            TrialState.RUNNING,
            self.suggestion.assignments,
            curve=tuple(self.curve),
            parent=self.suggestion.parent,
        )


class SearchLoop:
    """One search on this machine, in a run folder that the caller has locked.

    `reruns` are what is run instead of the trials of a search; `earlier` are trials of other
    searches to learn from.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        *,
        dataset: Path,
        server: ProcessServer,
        progress: Progress,
        reruns: Reruns | None = None,
        earlier: Sequence[Trial] = (),
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._dataset = dataset
        self._server = server
        self._progress = progress
        self._gpus = hardware.gpus()
        self._study = reruns or Study(
            experiment.problem, open_journal(folder.journal), earlier=earlier
        )
        self._finished: dict[int, Trial] = {}
        self._running: dict[str, Running] = {}
        self._again: list[Suggestion] = []
        self._kills: dict[int, int] = {}
        self._twins = Duplicates(experiment)
        self._ending: str | None = None
        self._selector = selectors.DefaultSelector()
        self._earlier_seconds = float(folder.state().get("seconds", 0.0))
        self._start = time.monotonic()

    def run(self, interruption: Interruption) -> tuple[list[Trial], str | None]:
        """Run trials until the budget is spent.

        Returns:
            the finished trials, and why the search ended before its last trial, or None.

        Raises:
            BackendError: the disk is full, or the server died; `run` may be called again later.
            Interrupted: by Ctrl-C or SIGTERM.
        """
        self._selector.register(self._server.connection, selectors.EVENT_READ, self._on_server)
        self._selector.register(interruption.wake, selectors.EVENT_READ, interruption.check)
        try:
            self._recover()
            self._progress.started(self._experiment.budget.trials, self._slots())
            while self._fill():
                for key, _ in self._selector.select(timeout=TICK):
                    key.data()
                self._check_time()
                self._show()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._folder.disk_full() from error
            raise
        finally:
            self._folder_state()
            self._selector.close()
            for running in self._running.values():
                running.channel.close()
        self._show()
        return [self._finished[n] for n in sorted(self._finished)], self._ending

    def _recover(self) -> None:
        """Take over what an earlier part of the run left: results are kept, the rest runs again."""
        self._finished = {t.number: t for t in self._folder.finished_trials()}
        for suggestion in self._study.unfinished():
            trial = self._finished.get(suggestion.number)
            if trial is not None:
                self._study.tell(trial)
            else:
                self._again.append(suggestion)
        self._finished = {n: t for n, t in self._finished.items() if self._study.knows(n)}
        if not self._finished and (learned := self._study.learned()):
            self._progress.say(f"learns from {learned} earlier trials")
        if self._finished or self._again:
            self._progress.say(
                f"goes on: {len(self._finished)} trials are done, {len(self._again)} run again"
            )
        remove_unneeded(self._experiment, self._folder.trials, self._finished)
        self._check_target()
        self._check_failures()

    def _slots(self) -> int:
        parallel = self._experiment.budget.parallel
        if self._gpus:
            return min(parallel, len(self._gpus) * self._experiment.local.trials_per_gpu)
        return parallel

    def _fill(self) -> bool:
        """Start as many trials as may run; return whether any runs."""
        while len(self._running) < self._slots() and (suggestion := self._next()):
            if not self._is_twin(suggestion):
                self._launch(suggestion)
        return bool(self._running)

    def _is_twin(self, suggestion: Suggestion) -> bool:
        """Reuse the result of an equal trial, if there is one; tell whether there is."""
        running = [r.suggestion for r in self._running.values()]
        twin = self._twins.find(suggestion, self._finished.values(), running)
        if isinstance(twin, Trial):
            folder = self._folder.trials / self._study.name(suggestion.number)
            self._finish(take_over(twin, suggestion, folder))
        return twin is not None

    def _next(self) -> Suggestion | None:
        if self._ending:
            return None
        if self._again:
            return self._again.pop(0)
        if self._study.count() >= self._experiment.budget.trials:
            return None
        if self._study.is_exhausted():
            self._progress.say("every point of the grid has been tried")
            return None
        return self._study.ask()

    def _launch(self, suggestion: Suggestion) -> None:
        name = self._study.name(suggestion.number)
        folder = self._folder.trials / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        taken = {running.slot for running in self._running.values()}
        slot = next(i for i in range(self._slots()) if i not in taken)
        parent = suggestion.parent
        command = TrialCommand(
            experiment=self._folder.experiment_file,
            dataset=self._dataset,
            output=self._folder.trials,
            name=name,
            number=suggestion.number,
            assignments={n: render(v) for n, v in suggestion.assignments.items()},
            resume=None if parent is None else self._folder.trials / self._study.name(parent),
            seed=suggestion.seed,
        )
        environment = {}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        with theirs:
            self._server.start(
                name,
                "trial",
                command.argv(),
                log=folder / "log.txt",
                environment=environment,
                channel=theirs,
            )
        self._folder.note(name, "launched")
        running = Running(suggestion, name, slot, ours)
        self._running[name] = running
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._on_channel(running))

    def _on_channel(self, running: Running) -> None:
        """Read what a trial reports and answer each evaluation."""
        if running.channel.fileno() < 0:
            return  # its end was told in the same round of the selector
        try:
            content = running.channel.recv(1 << 16)
        except (BlockingIOError, ConnectionError):
            content = b""
        if not content:
            self._selector.unregister(running.channel)  # its end is told by the server
            return
        running.buffer += content
        *lines, running.buffer = running.buffer.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["event"] == "evaluated":
                self._on_point(running, Point(**message["point"]))
            else:
                self._folder.note(running.name, message["event"])

    def _on_point(self, running: Running, point: Point) -> None:
        running.curve.append(point)
        number = running.suggestion.number
        self._study.report(number, point)
        is_over = self._ending is not None or self._study.should_stop(number, running.curve)
        try:
            running.channel.send(b"stop\n" if is_over else b"go\n")
        except OSError:
            return  # the trial has just died; the server will say how

    def _on_server(self) -> None:
        for ended in self._server.poll():
            if ended.job in self._running:
                self._on_exit(self._running.pop(ended.job), ended)

    def _on_exit(self, running: Running, ended: Exit) -> None:
        if running.channel in _registered(self._selector):
            self._on_channel(running)
            if running.channel in _registered(self._selector):
                self._selector.unregister(running.channel)
        running.channel.close()
        number = running.suggestion.number
        folder = self._folder.trials / running.name
        if ended.code == DISK_FULL_EXIT:
            raise self._folder.disk_full()
        trial = read_trial(folder)
        if trial is None and ended.code == -signal.SIGKILL:
            self._kills[number] = self._kills.get(number, 0) + 1
            if self._kills[number] < MAX_KILLS and not self._ending:
                self._progress.say(f"{running.name} was killed and runs again")
                self._again.append(running.suggestion)
                return
        if trial is None:
            trial = self._without_result(running, ended)
            write_json(folder / RESULT_FILE, trial.to_json())
        self._finish(trial)

    def _without_result(self, running: Running, ended: Exit) -> Trial:
        """Return the record of a trial that died before it could write one."""
        if self._ending and ended.code in (-signal.SIGTERM, -signal.SIGKILL):
            reason = "stopped before it had a result"
            return replace(running.trial(), state=TrialState.STOPPED, reason=reason)
        log = self._folder.trials / running.name / "log.txt"
        reason = cause_of_death(ended, log, kills=MAX_KILLS)
        return replace(running.trial(), state=TrialState.FAILED, reason=reason)

    def _finish(self, trial: Trial) -> None:
        self._folder.note(trial.name, trial.state.value)
        self._study.tell(trial)
        self._finished[trial.number] = trial
        remove_unneeded(self._experiment, self._folder.trials, self._finished)
        self._folder_state()
        self._again += self._twins.freed(trial.number)
        self._check_target()
        self._check_failures()

    def _check_target(self) -> None:
        target = self._experiment.budget.target
        if target is None:
            return
        objective = self._experiment.objective[0]
        for trial in rank(self._experiment, self._finished.values())[:1]:
            gain = objective.sign() * (objective.value(trial.metrics) - target)
            if gain >= 0 and violation(self._experiment, trial.metrics) == 0:
                self._end(f"the target {target:g} is reached")

    def _check_failures(self) -> None:
        failed = sum(t.state == TrialState.FAILED for t in self._finished.values())
        allowed = self._experiment.budget.max_failed
        if failed > allowed:
            self._end(f"{failed} trials failed, and budget.max_failed allows {allowed}")

    def _check_time(self) -> None:
        minutes = self._experiment.budget.minutes
        if minutes is not None and self.seconds() > minutes * 60:
            self._end(f"the {minutes:g} minutes are over")

    def _end(self, reason: str) -> None:
        """Start no more trials and have those that run stop early, with their results."""
        if self._ending is None:
            self._ending = reason
            self._progress.say(reason)
            for name in self._running:
                self._server.kill(name, signal.SIGTERM)

    def seconds(self) -> float:
        """Return the seconds that the run has taken, its earlier parts included."""
        return self._earlier_seconds + time.monotonic() - self._start

    def _folder_state(self) -> None:
        self._folder.write_state(seconds=self.seconds())

    def _show(self) -> None:
        trials = [*self._finished.values(), *(r.trial() for r in self._running.values())]
        self._progress.update(sorted(trials, key=lambda t: t.number), seconds=self.seconds())


def _registered(selector: selectors.BaseSelector) -> set[Any]:
    return {key.fileobj for key in selector.get_map().values()}
