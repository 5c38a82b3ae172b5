"""The folder of one run: its lock, what is in it, and reading it back.

Everything that is read is validated: names are plain file names, types are right, and a damaged
file is named. Nothing outside of the folder is ever read or written because of what a file says.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import platform
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpo_pipeline.errors import BackendError, HpoError, RunFolderError
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.baseline import baseline_name
from hpo_pipeline.results.confirmation import confirm
from hpo_pipeline.results.files import RESULT_FILE, read_json, validated, write_json
from hpo_pipeline.results.outcome import Evaluation, SearchResult, Selected
from hpo_pipeline.results.run_paths import RUN_FILE, RunPaths
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.trial import Trial, TrialState, read_trial

OURS = {"lock", "trials", "server.log", "jobs"}
"""What a run folder may hold before it has an experiment."""


class RunFolder(RunPaths):
    """One run of one experiment."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.absolute())

    @property
    def confirmation(self) -> RunFolder:
        """The folder of the runs with other seeds, below this one."""
        return RunFolder(super().confirmation.path)

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
                    f"{self.path}: is in use by process {owner}; wait for it to end, or choose "
                    f"another folder with --run"
                ) from None
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield

    def is_running(self) -> bool:
        """Return whether a process holds the folder."""
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
        """Make this the folder of an experiment, or resume its run here.

        Budget, engine and registration may differ from those of the earlier part.

        Raises:
            RunFolderError: the folder is another experiment's, or holds something else.
        """
        if self.experiment_file.exists():
            if self.experiment().identity() != experiment.identity():
                raise RunFolderError(
                    f"{self.path}: holds the run of another experiment, or of this one before it "
                    f"was changed; choose another folder with --run, or remove this one"
                )
        elif any(entry.name not in OURS for entry in self.path.iterdir()):
            raise RunFolderError(
                f"{self.path}: is not empty and not a run folder; choose another with --run"
            )
        draft = self.experiment_file.with_suffix(".draft")
        draft.write_text(experiment.to_json(), "utf-8")
        draft.replace(self.experiment_file)

    def use_data(self, fingerprint: str) -> None:
        """Bind the run to its data: trials of two data sets cannot be compared.

        Raises:
            RunFolderError: the run has trials that were trained on other data.
        """
        known = self.state().data_fingerprint
        if known is not None and known != fingerprint and self.finished_trials():
            raise RunFolderError(
                f"{self.path}: the data have changed since this run was started, and its trials "
                f"cannot be compared with new ones; choose another folder with --run, or remove "
                f"this one"
            )
        self.update(data_fingerprint=fingerprint)

    def experiment(self) -> Experiment:
        """Return the experiment of this run.

        Raises:
            RunFolderError: this is not a run folder.
        """
        if not self.experiment_file.exists():
            raise RunFolderError(
                f"{self.path}: is not a run folder; `hpo run` makes one, by default runs/NAME"
            )
        return load(self.experiment_file)

    def state(self) -> RunState:
        """Return the content of run.json; an empty state before the run has started.

        Raises:
            RunFolderError: the file is damaged.
        """
        try:
            content = read_json(self.run_file)
        except FileNotFoundError:
            return RunState()
        return validated(RunState, RunState.known(content), self.run_file)

    def update(self, **changes: Any) -> None:
        """Change some entries of run.json."""
        write_json(self.run_file, self.state().with_changes(**changes).to_json())

    def try_update(self, **changes: Any) -> None:
        """Change some entries of run.json where that is still possible, as after a full disk."""
        with contextlib.suppress(OSError, RunFolderError):
            self.update(**changes)

    def run_id(self, known: str | None = None) -> str:
        """Return the name of the run among all runs; the first call chooses one, at random.

        Args:
            known: the name that the run has elsewhere, which the first call takes over.
        """
        found = self.state().run_id
        if found is None:
            found = known or uuid.uuid4().hex
            self.update(run_id=found)
        return found

    def evaluations(self) -> dict[str, Evaluation]:
        """Return what was measured on the test rows, by the name of the model."""
        try:
            content = read_json(self.conclusion)
        except FileNotFoundError:
            return {}
        found = content.get("evaluations")
        known = found if isinstance(found, dict) else {}
        return {n: validated(Evaluation, data, self.conclusion) for n, data in known.items()}

    def note(self, trial: str, event: str) -> None:
        """Add a line to the timeline."""
        line = json.dumps({"time": time.time(), "trial": trial, "event": event})
        with self.timeline.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def record(self, trial: Trial) -> None:
        """Write the result of a trial that ran elsewhere."""
        place = self.trials / trial.name
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / RESULT_FILE, trial.to_json())

    def finished_trials(self) -> list[Trial]:
        """Return the trials that have a result, by number; damaged results are left out."""
        found = (read_trial(folder) for folder in self._trial_folders())
        return sorted((t for t in found if t is not None), key=lambda trial: trial.number)

    def damaged_trials(self) -> list[str]:
        """Return the names of the trials whose result cannot be read."""
        files = (folder / RESULT_FILE for folder in self._trial_folders())
        there = [file.parent for file in files if file.exists()]
        return sorted(folder.name for folder in there if read_trial(folder) is None)

    def result(self) -> SearchResult:
        """Return the run as it is now.

        Raises:
            RunFolderError: this is not a run folder, or a file in it is damaged.
        """
        experiment, state = self.experiment(), self.state()
        trials = self.finished_trials()
        done = {trial.name for trial in trials}
        is_running = self.is_running()
        for folder in self._trial_folders() if is_running else ():
            number = re.search(r"-(\d{1,9})$", folder.name)
            if folder.name not in done and number:
                trials.append(Trial(folder.name, int(number[1]), TrialState.RUNNING, {}))
        name = state.state or "running"
        if name == "running" and not is_running:
            name = "interrupted"
        confirmation = self.confirmation
        return SearchResult(
            experiment=experiment.name,
            state=name,
            seconds=state.seconds + confirmation.state().seconds,
            trials=tuple(trials),
            winner=state.winner,
            reason=state.reason,
            confirmed=confirm(experiment, trials, confirmation.finished_trials()),
            baseline=baseline_name(experiment, trials),
            baseline_notes=state.baseline_notes,
            gain=state.gate.gain if state.gate else None,
            gain_note=state.gate.gain_note if state.gate else "",
            added_trials=state.added_trials,
        )

    def info(self) -> dict[str, str]:
        """Return where and with what the run was made, for the report."""
        return {
            "hpo-pipeline": version("hpo-pipeline"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "system": platform.system(),
            "dataset": (self.state().data_fingerprint or "")[:16],
            "data notes": "\n".join(self.state().data_notes),
        }

    def _trial_folders(self) -> list[Path]:
        if not self.trials.is_dir():
            return []
        return sorted(p for p in self.trials.iterdir() if p.is_dir() and not p.is_symlink())


def latest(runs: Path) -> Path:
    """Return the run folder below `runs` that changed last.

    Raises:
        RunFolderError: there is none.
    """
    found = [path.parent for path in runs.glob(f"*/{RUN_FILE}")]
    if not found:
        raise RunFolderError(f"{runs}: there is no run yet; name a run folder")
    return max(found, key=lambda path: (path / RUN_FILE).stat().st_mtime)


def write_leaderboard(path: Path, trials: Sequence[Trial], *, baseline: str | None = None) -> None:
    """Write a table of trials, in the order given, with all assignments and metrics."""
    assignments = list(dict.fromkeys(name for trial in trials for name in trial.assignments))
    metrics = list(dict.fromkeys(name for trial in trials for name in trial.metrics))
    sampled = list(dict.fromkeys(name for trial in trials for name in trial.intervals))
    ends = [f"{name}_{end}" for name in sampled for end in ("low", "high")]
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            head = ["trial", "state", *assignments, *metrics, *ends, "reason", "baseline"]
            writer.writerow(_cell(name) for name in head)
            for trial in trials:
                values = [trial.assignments.get(name, "") for name in assignments]
                numbers = [trial.metrics.get(name, "") for name in metrics]
                found = (trial.intervals.get(name, (None, None)) for name in sampled)
                numbers += ["" if end is None else end for interval in found for end in interval]
                is_baseline = "yes" if trial.name == baseline else ""
                row = [trial.name, trial.state.value, *values, *numbers]
                row += [trial.reason or "", is_baseline]
                writer.writerow(_cell(value) for value in row)
    except OSError as error:
        raise HpoError(f"{path}: cannot be written ({error.strerror})") from error


def _cell(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula, and that has no control characters.

    A quote before the text is how spreadsheets mark text; numbers stay numbers.
    """
    if not isinstance(value, str):
        return value
    text = "".join(c if c.isprintable() else " " for c in value)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def run_place(folder: RunFolder, selected: Selected) -> Path:
    """Return the folder of the run whose model is the winner's."""
    return (folder.confirmation if selected.is_rerun else folder).trial(selected.run)


def run_result(folder: RunFolder, selected: Selected) -> Trial:
    """Return the result of that run.

    Raises:
        BackendError: it is not there.
    """
    found = read_trial(run_place(folder, selected))
    if found is None:
        raise BackendError(
            f"{run_place(folder, selected)}: there is no result of the winner; run the experiment "
            f"again"
        )
    return found


def is_kept(folder: RunFolder, selected: Selected) -> bool:
    """Return whether the model of this winner was copied before."""
    try:
        known = read_json(folder.conclusion)
    except FileNotFoundError:
        return False
    return known.get("run") == selected.run and folder.model.is_dir()
