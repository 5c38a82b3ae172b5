"""The search loop: ask the study, start trials, decide at each evaluation, until the budget ends.

Whatever has ended is on disk before anything else happens, so that a run that is cut off resumes
where it was. How trials are run is the runner's (runner.py).
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.loop.asked import Asked
from hpo_pipeline.engines.loop.duplicates import Duplicates, take_over
from hpo_pipeline.engines.loop.recovery import open_study
from hpo_pipeline.engines.loop.retention import Retention
from hpo_pipeline.engines.loop.runner import (
    Ended,
    Evaluated,
    Event,
    Noted,
    Resumed,
    Runner,
    TrialStart,
)
from hpo_pipeline.results.files import RESULT_FILE, RESUME_FOLDER, write_json
from hpo_pipeline.results.leaders import Leaders
from hpo_pipeline.results.trial import Point, Trial, TrialState
from hpo_pipeline.search.study import Suggestion

MAX_KILLS = 3
"""A trial killed from outside (SIGKILL) this often is given up: it is probably out of memory."""
TICK = 0.5
SAVE_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
"""How long a trial that was asked to stop may take to evaluate and write its result."""


@dataclass
class Running:
    """A trial that runs, with what it reported so far."""

    suggestion: Suggestion
    name: str
    curve: list[Point] = field(default_factory=list)

    def trial(self) -> Trial:
        """Return the trial as it is now."""
        return Trial(
            self.name,
            self.suggestion.number,
            TrialState.RUNNING,
            self.suggestion.assignments,
            curve=tuple(self.curve),
            parent=self.suggestion.parent,
        )


class SearchLoop:
    """One search in a run folder that the caller has locked; `earlier` are trials to learn from."""

    def __init__(
        self, context: RunContext, runner: Runner, *, earlier: Sequence[Trial] = ()
    ) -> None:
        self._experiment = context.experiment
        self._folder = context.folder
        self._progress = context.progress
        self._runner = runner
        self._study = open_study(context, earlier)
        self._finished: dict[int, Trial] = {}
        self._running: dict[str, Running] = {}
        self._again: list[Suggestion] = []
        self._kills: dict[int, int] = {}
        self._asked = Asked(context, self._study)
        self._stopped: set[str] = set()
        self._duplicates = Duplicates(context.experiment)
        self._retention = Retention(context.experiment, context.folder.trials)
        self._leaders = Leaders(context.experiment, 1)
        self._failed = 0
        self._is_shown = False
        self._ending: str | None = None
        self._ended_at = 0.0
        self._earlier_seconds = context.folder.state().seconds
        self._start = self._saved_at = time.monotonic()

    def run(self, interruption: Interruption) -> tuple[list[Trial], str | None]:
        """Run trials until the budget is spent.

        Returns:
            the finished trials, and why the search ended before its last trial, or None.

        Raises:
            BackendError: the disk is full, or the runner cannot continue; resume with a new loop.
            Interrupted: by Ctrl-C or SIGTERM.
        """
        try:
            self._recover()
            self._progress.started(self._asked.planned, self._runner.slots)
            self._do_what_was_asked()  # while nothing ran
            while self._fill():
                for event in self._runner.events(TICK):
                    self._on_event(event)
                interruption.check()
                self._do_what_was_asked()
                self._check_budget()
                self._end_what_hangs()
                self._show()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._folder.disk_full() from error
            raise
        finally:
            with contextlib.suppress(OSError):  # the error above reports a full disk
                self._folder.update(seconds=self.seconds())
        self._show()
        return [self._finished[n] for n in sorted(self._finished)], self._ending

    def seconds(self) -> float:
        """Return the seconds that the run has taken, its earlier parts included."""
        return self._earlier_seconds + time.monotonic() - self._start

    def _recover(self) -> None:
        """Take over what an earlier part of the run left: results are kept, the rest is rerun."""
        for trial in self._folder.finished_trials():
            self._take(trial)
        for suggestion in self._study.unfinished():
            if (ended := self._finished.get(suggestion.number)) is not None:
                self._study.tell(ended)
            else:
                self._again.append(suggestion)
        lost = [n for n in self._study.ended() if n not in self._finished]
        self._again += [self._study.asked(number) for number in lost]
        if not self._finished and (learned := self._study.learned()):
            self._progress.say(f"learning from {learned} earlier trials")
        if self._finished or self._again:
            rerun = f", {len(self._again)} rerun" if self._again else ""
            self._progress.say(f"resumed: {len(self._finished)} trials finished earlier{rerun}")
        self._check_budget()

    def _take(self, trial: Trial) -> None:
        """Count a trial among those that have ended."""
        self._finished[trial.number] = trial
        self._is_shown = False
        self._failed += trial.state == TrialState.FAILED
        self._leaders.add(trial)
        self._duplicates.add(trial)
        self._retention.ended(trial, self._finished)

    def _fill(self) -> bool:
        """Start as many trials as may run; return whether any runs."""
        while len(self._running) < self._runner.slots and (suggestion := self._next()):
            if not self._is_duplicate(suggestion):
                self._launch(suggestion)
        return bool(self._running)

    def _is_duplicate(self, suggestion: Suggestion) -> bool:
        """Reuse the result of an equal trial, if there is one; return whether there is."""
        running = [r.suggestion for r in self._running.values()]
        found = self._duplicates.find(suggestion, running)
        if isinstance(found, Trial):
            folder = self._folder.trial(self._study.name(suggestion.number))
            self._finish(take_over(found, suggestion, folder))
        return found is not None

    def _next(self) -> Suggestion | None:
        if self._ending:
            return None
        if self._again:
            return self._again.pop(0)
        if self._study.count() >= self._asked.planned:
            return None
        if self._study.is_exhausted():
            self._progress.say("every point of the grid has been tried")
            return None
        return self._study.ask()

    def _launch(self, suggestion: Suggestion) -> None:
        name, parent = self._study.name(suggestion.number), suggestion.parent
        folder = self._folder.trial(name)
        _clear(folder)
        self._runner.start(
            TrialStart(
                name,
                suggestion.number,
                suggestion.assignments,
                parent=None if parent is None else self._study.name(parent),
                seed=suggestion.seed,
            )
        )
        self._folder.note(name, "launched")
        self._running[name] = Running(suggestion, name)
        self._is_shown = False

    def _on_event(self, event: Event) -> None:
        if event.name not in self._running:
            return
        self._is_shown = False
        if isinstance(event, Noted):
            self._folder.note(event.name, event.event)
        elif isinstance(event, Resumed):
            self._on_resumed(self._running[event.name], event)
        elif isinstance(event, Evaluated):
            self._on_point(self._running[event.name], event)
        else:
            self._on_end(self._running.pop(event.name), event)

    def _on_resumed(self, running: Running, event: Resumed) -> None:
        running.curve = list(event.curve)
        for point in event.curve:
            self._study.report(running.suggestion.number, point)
        self._folder.note(running.name, "resumed")

    def _on_point(self, running: Running, event: Evaluated) -> None:
        running.curve.append(event.point)
        number = running.suggestion.number
        self._study.report(number, event.point)
        event.answer(self._ending is not None or self._study.should_stop(number, running.curve))

    def _on_end(self, running: Running, ended: Ended) -> None:
        number, trial = running.suggestion.number, ended.trial
        if trial is None and ended.was_killed and not self._ending:
            self._kills[number] = self._kills.get(number, 0) + 1
            if self._kills[number] < MAX_KILLS:
                self._progress.say(f"{running.name} was killed and is rerun")
                self._again.append(running.suggestion)
                return
        if trial is None:
            trial = self._without_result(running, ended)
            write_json(self._folder.trial(running.name) / RESULT_FILE, trial.to_json())
        self._finish(trial)

    def _without_result(self, running: Running, ended: Ended) -> Trial:
        """Return the record of a trial that died before it could write one."""
        reason, state = ended.reason, TrialState.FAILED
        if (self._ending or running.name in self._stopped) and ended.was_stopped:
            reason, state = "stopped before it had a result", TrialState.STOPPED
        elif self._ending and ended.was_killed:
            reason = f"did not stop within {PATIENCE_SECONDS:.0f} s and was killed"
        elif ended.was_killed:
            reason = f"killed {MAX_KILLS} times, {ended.reason}"
        return replace(running.trial(), state=state, reason=reason)

    def _finish(self, trial: Trial) -> None:
        self._folder.note(trial.name, trial.state.value)
        self._study.tell(trial)
        self._warn_of_the_rest(trial)
        self._take(trial)
        self._save_seconds()
        self._again += self._duplicates.freed(trial.number)
        self._check_budget()

    def _save_seconds(self) -> None:
        """Keep the time that the run has taken, for a run that is killed."""
        if (now := time.monotonic()) - self._saved_at >= SAVE_SECONDS:
            self._saved_at = now
            self._folder.update(seconds=self.seconds())

    def _warn_of_the_rest(self, trial: Trial) -> None:
        """Say that a first trial that fails before any evaluation is a bad sign."""
        is_first_of_many = not self._finished and self._experiment.budget.trials > 1
        if trial.state is TrialState.FAILED and not trial.curve and is_first_of_many:
            self._progress.say(
                f"{trial.name} failed before its first evaluation: {trial.reason}. The other "
                f"trials will probably fail alike: stop with Ctrl-C, and correct the experiment"
            )

    def _check_budget(self) -> None:
        if self._ending is not None:
            return
        budget, first = self._experiment.budget, self._experiment.objective[0]
        best = None
        if budget.target is not None and (leader := self._leaders.winner()) is not None:
            best = first.value(leader.metrics)
        reason = budget.ended(
            failed=self._failed, seconds=self.seconds(), best=best, goal=first.goal
        )
        if reason is not None:
            self._end(reason)

    def _end(self, reason: str) -> None:
        """Start no more trials and have those that run stop early, with their results."""
        self._ending, self._ended_at = reason, time.monotonic()
        self._progress.say(reason)
        for name in self._running:
            self._runner.stop(name)

    def _do_what_was_asked(self) -> None:
        """Stop the trials that a person asked to stop, with their results, and add others."""
        planned = self._asked.planned
        for name in self._asked.take_up(self._finished, self._running, self._ending):
            self._stopped.add(name)
            self._runner.stop(name)
        if self._asked.planned != planned:
            self._progress.started(self._asked.planned, self._runner.slots)

    def _end_what_hangs(self) -> None:
        if self._ending and time.monotonic() - self._ended_at > PATIENCE_SECONDS:
            for name in self._running:
                self._runner.stop(name, now=True)

    def _show(self) -> None:
        """Show what has changed; the displays have a clock of their own."""
        if self._is_shown:
            return
        self._is_shown = True
        trials = [*self._finished.values(), *(r.trial() for r in self._running.values())]
        self._progress.update(sorted(trials, key=attrgetter("number")), seconds=self.seconds())


def _clear(folder: Path) -> None:
    """Empty the folder of a trial that starts, except for what it can resume from."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path.name != RESUME_FOLDER:
                shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
