"""The display for log collectors: a JSON object for each thing that happens, with the run's id.

An object has `time` (ISO 8601, UTC), `level`, `run`, `experiment` and `event`: started, trial,
message, log or ended. Lines of the log and of the display have the same form.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Trial, TrialState


class JsonLines:
    """Writes what changed since the last update.

    Args:
        run_id: returns the id of the run, None before it is known.
    """

    def __init__(
        self, experiment: Experiment, stream: TextIO, run_id: Callable[[], str | None]
    ) -> None:
        self._experiment, self._stream, self._run_id = experiment, stream, run_id
        self._known_id: str | None = None
        self._seen: dict[str, TrialState] | None = None
        self._has_started = False

    def started(self, total: int, parallel: int) -> None:
        if not self._has_started:
            goals = [f"{o.goal} {o.score or o.name}" for o in self._experiment.objective]
            self.write("started", trials=total, parallel=parallel, objectives=goals)
        self._has_started = True

    def update(self, trials: Sequence[Trial], *, seconds: float) -> None:
        if self._seen is None:  # what an earlier part of the run has left is not news
            self._seen = {trial.name: trial.state for trial in trials if trial.state.is_final}
        for trial in trials:
            if trial.state is not self._seen.get(trial.name):
                self._seen[trial.name] = trial.state
                self._write_trial(trial)

    def say(self, line: str) -> None:
        self.write("message", message=line)

    def close(self) -> None:
        pass

    def ended(self, summary: Mapping[str, Any]) -> None:
        """Write how the run ended: what `hpo status --json` prints."""
        self.write("ended", **{n: v for n, v in summary.items() if n != "experiment"})

    def write(self, event: str, *, level: str = "info", **content: Any) -> None:
        """Write an object."""
        head = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "run": self._id(),
            "experiment": self._experiment.name,
            "event": event,
        }
        text = json.dumps({**head, **content}, ensure_ascii=False, default=str)
        print(text, file=self._stream, flush=True)

    def _id(self) -> str | None:
        if self._known_id is None:
            self._known_id = self._run_id()
        return self._known_id

    def _write_trial(self, trial: Trial) -> None:
        content: dict[str, Any] = {"trial": trial.name, "state": trial.state.value}
        if trial.state is TrialState.RUNNING:
            content["assignments"] = dict(trial.assignments)
        if trial.state.is_final:
            content |= {"metrics": dict(trial.metrics), "seconds": dict(trial.seconds)}
        if trial.reason:
            content["reason"] = trial.reason
        level = "warning" if trial.state is TrialState.FAILED else "info"
        self.write("trial", level=level, **content)


class JsonHandler(logging.Handler):
    """Writes records of the log as lines of the display."""

    def __init__(self, lines: JsonLines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one that cannot be formatted is left to `logging`."""
        try:
            content = {"logger": record.name, "message": record.getMessage()}
            if record.exc_info:
                content["traceback"] = logging.Formatter().formatException(record.exc_info)
        except (TypeError, ValueError):
            self.handleError(record)
            return
        self._lines.write("log", level=record.levelname.lower(), **content)
