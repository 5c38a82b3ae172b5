"""The Python API, for scripts and notebooks: the same stages as the command `hpo`.

import hpo_pipeline as hpo
run = hpo.run("experiments/tweets.yaml")
run.best, run.leaderboard(), run.pipeline()("I love this!")
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipeline.engines import ENGINES, RunContext
from hpo_pipeline.errors import BackendError, ExperimentError
from hpo_pipeline.experiment.loading import load, read
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.flow.launch import launch
from hpo_pipeline.reports.notebook import leaderboard_html
from hpo_pipeline.reports.terminal import Progress, open_progress
from hpo_pipeline.results.baseline import baseline_trial
from hpo_pipeline.results.outcome import SearchResult, Winner
from hpo_pipeline.results.ranking import rank
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.tasks import TASKS

if TYPE_CHECKING:
    import optuna
    import pandas as pd


class Run:
    """A run as it is on disk; every property reads it anew."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = RunFolder(Path(folder))
        self._folder.experiment()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._folder.path

    @property
    def experiment(self) -> Experiment:
        """The experiment that was run."""
        return self._folder.experiment()

    @property
    def result(self) -> SearchResult:
        """The run with all its trials."""
        return self._folder.result()

    @property
    def state(self) -> str:
        """Running, interrupted, succeeded or failed."""
        return self.result.state

    @property
    def best(self) -> Winner | None:
        """The winner with its assignments and metrics; None before one was selected."""
        return self._folder.state().winner

    @property
    def baseline(self) -> Trial | None:
        """The trial that tuning had to beat; None where there is none, or it has not ended."""
        return baseline_trial(self.experiment, self._folder.finished_trials())

    @property
    def trials(self) -> pd.DataFrame:
        """All trials by number: state, assignments and metrics, one column each."""
        return _frame(self.result.trials)

    def leaderboard(self) -> pd.DataFrame:
        """Return the usable trials, best first."""
        return _frame(rank(self.experiment, self.result.trials))

    def report(self, out: Path | str | None = None) -> Path:
        """Write the HTML report, by default into the run folder, and return its path."""
        from hpo_pipeline.reports.html import write_report

        file = Path(out) if out else self._folder.report
        return write_report(self.experiment, self.result, file, run_info=self._folder.info())

    def pipeline(self, **options: Any) -> Any:
        """Return the winner, ready to predict: a pipeline of transformers where there is one.

        Args:
            options: for `transformers.pipeline`, such as `device`.

        Raises:
            BackendError: there is no winner, or its model is not on this machine.
            DataError: only the user's own code knows how the model predicts.
        """
        if not self._folder.model.is_dir():
            place = self.best.model if self.best else None
            where = f"it is at {place}" if place else f"the run {self.state} without a winner"
            raise BackendError(f"{self._folder.model}: there is no model here; {where}")
        task = self.experiment.task
        return TASKS[task.kind].predictor(task, str(self._folder.model), **options)

    def to_optuna(self) -> optuna.Study:
        """Return the trials as a study of Optuna, in memory."""
        from hpo_pipeline.search.export import study_of

        return study_of(self.experiment, self.result.trials)

    def __repr__(self) -> str:
        return f"<Run {self.folder}: {self.state}>"

    def _repr_html_(self) -> str:
        result = self.result
        counts = ", ".join(f"{count} {state}" for state, count in result.counts().items())
        reason = f": {escape(result.reason)}" if result.reason else ""
        head = f"<b>{escape(result.experiment)}</b> {result.state}{reason}; {counts}"
        return f"<div>{head}{leaderboard_html(self.experiment, result.trials)}</div>"


def run(
    experiment: Experiment | Path | str,
    engine: str = "local",
    *,
    folder: Path | str | None = None,
    registry: str | None = None,
    kube_context: str | None = None,
    quiet: bool = False,
) -> Run:
    """Run an experiment, or resume its run, and return it when it has ended.

    In a notebook a table shows the trials while they run; interrupting the kernel keeps what is
    done, and the same call resumes.

    Args:
        experiment: an `Experiment`, or the path of an experiment file.
        engine: a row of `ENGINES`.
        folder: the run folder; runs/NAME by default.
        registry: where the winner is registered, in place of the experiment's own entry.
        kube_context: a context of the kubeconfig, for an engine on a cluster.
        quiet: show nothing.

    Raises:
        HpoError: the experiment, its data or the engine cannot be used; a search whose trials fail
            is a `Run` in the state `failed`.
        Interrupted: by Ctrl-C or SIGTERM.
    """
    if engine not in ENGINES:
        raise ExperimentError("hpo.run", [f"engine: must be one of {', '.join(ENGINES)}"])
    is_file = isinstance(experiment, str | Path)
    loaded = load(Path(experiment)) if isinstance(experiment, str | Path) else experiment
    suffix = "" if engine == "local" else f"-{engine}"
    place = RunFolder(Path(folder) if folder else Path("runs") / f"{loaded.name}{suffix}")
    progress = _progress(loaded, quiet=quiet)
    try:
        launch(
            engine,
            RunContext(
                loaded,
                place,
                progress,
                source=Path(experiment) if is_file else None,  # type: ignore[arg-type]
                registry=registry,
                kube_context=kube_context,
            ),
        )
    finally:
        progress.close()
    return Run(place.path)


def open_run(folder: Path | str) -> Run:
    """Open the run in a folder, whether it has ended or not.

    Raises:
        RunFolderError: it is not a run folder.
    """
    return Run(folder)


def check(experiment: Experiment | Path | str) -> None:
    """Find all faults of an experiment, those included that need transformers to be seen.

    Raises:
        ExperimentError: with all faults at once.
    """
    from hpo_pipeline.jobs.check import argument_faults

    if isinstance(experiment, str | Path):
        _, faults, sections = read(Path(experiment))
        source = str(experiment)
    else:
        faults, sections, source = [], dict(experiment), "the experiment"
    faults = [*faults, *argument_faults(sections)]
    if faults:
        raise ExperimentError(source, faults)


def _progress(experiment: Experiment, *, quiet: bool) -> Progress:
    if quiet:
        from hpo_pipeline.reports.terminal.silence import Silence

        return Silence()
    if _in_notebook():
        from hpo_pipeline.reports.notebook import NotebookTable

        return NotebookTable(experiment)
    return open_progress(experiment, sys.stdout, live=sys.stdout.isatty())


def _in_notebook() -> bool:
    """Return whether this runs in a kernel that shows rich output."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _frame(trials: Any) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([_row(trial) for trial in trials])


def _row(trial: Trial) -> dict[str, object]:
    known = {"trial": trial.name, "state": trial.state.value}
    return {**known, **trial.assignments, **trial.metrics, "reason": trial.reason}
