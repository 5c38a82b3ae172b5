"""The folder of one run: what lies where, who may write, and reading it back.

experiment.json   the experiment, with absolute paths    journal.log   Optuna's study
run.json          state, seconds, winner                 server.log    the process server
trials/NAME/      result.json, log.txt, model/           model/        the winner, to load
confirm/          the same, of runs with other seeds
leaderboard.csv   every trial with all its metrics       report.html
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hpo_pipeline
from hpo_pipeline.errors import BackendError, HpoError, RunFolderError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.confirmation import confirm
from hpo_pipeline.results.files import RESULT_FILE, write_json
from hpo_pipeline.results.outcome import SearchResult, Selected, Winner
from hpo_pipeline.results.trial import Trial, TrialState, read_trial

EXPERIMENT_FILE = "experiment.json"
RUN_FILE = "run.json"


class RunFolder:
    """One run of one experiment."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.trials = self.path / "trials"
        self.journal = self.path / "journal.log"
        self.model = self.path / "model"
        self.report = self.path / "report.html"
        self.experiment_file = self.path / EXPERIMENT_FILE

    @property
    def confirmation(self) -> RunFolder:
        """The folder of the runs with other seeds, below this one."""
        return RunFolder(self.path / "confirm")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one writer; the kernel frees it if the process dies.

        Raises:
            RunFolderError: another process holds it, or it cannot be written.
        """
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
            stream = (self.path / "lock").open("a+")
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be written ({error.strerror})") from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                owner = stream.read().strip() or "unknown"
                raise RunFolderError(
                    f"{self.path}: process {owner} runs here; wait for it, or choose another "
                    f"folder with --run"
                ) from None
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield

    def is_running(self) -> bool:
        """Tell whether a process holds the folder."""
        try:
            with (self.path / "lock").open("r") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def disk_full(self) -> RunFolderError:
        """Return the error that says what to do when the disk is full."""
        return RunFolderError(
            f"{self.path}: no space is left on the disk; finished trials are kept. "
            f"Free some space and run the same command again"
        )

    def adopt(self, experiment: Experiment) -> None:
        """Make this the folder of an experiment, or go on with its run here.

        Budget, engine and registration may differ from those of the earlier part.

        Raises:
            RunFolderError: the folder is another experiment's, or holds something else.
        """
        if self.experiment_file.exists():
            if self.experiment().identity() != experiment.identity():
                raise RunFolderError(
                    f"{self.path}: is the run of another experiment, or of this one before it was "
                    f"changed; choose another folder with --run, or remove this one"
                )
        elif any(p.name not in ("lock", "trials", "server.log") for p in self.path.iterdir()):
            raise RunFolderError(f"{self.path}: is not empty and not the folder of a run")
        draft = self.experiment_file.with_suffix(".draft")
        draft.write_text(experiment.to_json(), "utf-8")
        draft.replace(self.experiment_file)

    def experiment(self) -> Experiment:
        """Return the experiment of this run.

        Raises:
            RunFolderError: this is not the folder of a run.
        """
        if not self.experiment_file.exists():
            raise RunFolderError(f"{self.path}: is not the folder of a run")
        return load(self.experiment_file)

    def state(self) -> dict[str, Any]:
        """Return the content of run.json; empty before the first trial."""
        try:
            content: dict[str, Any] = json.loads((self.path / RUN_FILE).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return content

    def write_state(self, **changes: Any) -> None:
        """Change some entries of run.json."""
        write_json(self.path / RUN_FILE, {**self.state(), **changes})

    def note(self, trial: str, event: str) -> None:
        """Add a line to the timeline."""
        line = json.dumps({"time": time.time(), "trial": trial, "event": event})
        with (self.path / "timeline.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def record(self, trial: Trial) -> None:
        """Write the result of a trial that ran elsewhere."""
        place = self.trials / trial.name
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / RESULT_FILE, trial.to_json())

    def finished_trials(self) -> list[Trial]:
        """Return the trials that have a result, by number."""
        if not self.trials.is_dir():
            return []
        found = (read_trial(folder) for folder in self.trials.iterdir() if folder.is_dir())
        return sorted((t for t in found if t is not None), key=lambda trial: trial.number)

    def result(self) -> SearchResult:
        """Return the run as it stands.

        Raises:
            RunFolderError: this is not the folder of a run.
        """
        experiment, state = self.experiment(), self.state()
        trials = self.finished_trials()
        done = {trial.name for trial in trials}
        is_running = self.is_running()
        for folder in sorted(self.trials.iterdir()):
            if folder.name not in done and is_running:
                number = int(folder.name.rpartition("-")[2])
                trials.append(Trial(folder.name, number, TrialState.RUNNING, {}))
        name = state.get("state", "running")
        if name == "running" and not is_running:
            name = "interrupted"
        winner = state.get("winner")
        confirmation = self.confirmation
        return SearchResult(
            experiment=experiment.name,
            state=name,
            seconds=sum(float(s.get("seconds", 0.0)) for s in (state, confirmation.state())),
            trials=tuple(trials),
            winner=Winner(**winner) if winner else None,
            reason=state.get("reason"),
            confirmed=confirm(experiment, trials, confirmation.finished_trials()),
        )

    def info(self) -> dict[str, str]:
        """Return where and with what the run was made, for the report."""
        return {
            "hpo-pipeline": hpo_pipeline.__version__,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "system": platform.system(),
            "dataset": str(self.state().get("fingerprint", ""))[:16],
        }


def latest(runs: Path) -> Path:
    """Return the run folder below `runs` that changed last.

    Raises:
        RunFolderError: there is none.
    """
    found = [path.parent for path in runs.glob(f"*/{RUN_FILE}")]
    if not found:
        raise RunFolderError(f"{runs}: there is no run; name a run folder")
    return max(found, key=lambda path: (path / RUN_FILE).stat().st_mtime)


def write_leaderboard(path: Path, trials: Sequence[Trial]) -> None:
    """Write a table of trials, in the order given, with all assignments and metrics."""
    assignments = list(dict.fromkeys(name for trial in trials for name in trial.assignments))
    metrics = list(dict.fromkeys(name for trial in trials for name in trial.metrics))
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["trial", "state", *assignments, *metrics, "reason"])
            for trial in trials:
                values = [trial.assignments.get(name, "") for name in assignments]
                numbers = [trial.metrics.get(name, "") for name in metrics]
                row = [trial.name, trial.state.value, *values, *numbers, trial.reason or ""]
                writer.writerow(row)
    except OSError as error:
        raise HpoError(f"{path}: cannot be written ({error.strerror})") from error


CONCLUSION_FILE = "conclusion.json"


def run_place(folder: RunFolder, chosen: Selected) -> Path:
    """Return the folder of the run whose model stands for the winner."""
    return (folder.confirmation if chosen.is_rerun else folder).trials / chosen.run


def run_result(folder: RunFolder, chosen: Selected) -> Trial:
    """Return the result of that run.

    Raises:
        BackendError: it is not there.
    """
    found = read_trial(run_place(folder, chosen))
    if found is None:
        raise BackendError(f"{run_place(folder, chosen)}: there is no result of the winner")
    return found


def is_kept(folder: RunFolder, chosen: Selected) -> bool:
    """Tell whether the model of this winner was copied before."""
    try:
        known = json.loads((folder.path / CONCLUSION_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return False
    return known["run"] == chosen.run and folder.model.is_dir()
