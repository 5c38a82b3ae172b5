"""A search on a cluster from here: look, apply, follow, rank; what it found goes to a run folder.

The run folder has the results that Katib keeps and the curves of the logs, so that `hpo status`,
`hpo show` and `hpo report` serve it like a run of this machine. Models stay in the storage.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from hpo_pipeline.backends.interruption import Interrupted, Interruption
from hpo_pipeline.backends.katib import KatibEngine
from hpo_pipeline.earlier import earlier_trials
from hpo_pipeline.errors import BackendError, HpoError
from hpo_pipeline.experiment import Experiment
from hpo_pipeline.katib import manifest, preflight
from hpo_pipeline.katib.api import Api
from hpo_pipeline.katib.trial_job import trials_folder
from hpo_pipeline.progress import Progress
from hpo_pipeline.registry import open_registry
from hpo_pipeline.results import (
    MODEL_FOLDER,
    RESULT_FILE,
    SearchResult,
    Trial,
    TrialState,
    Winner,
    write_json,
)
from hpo_pipeline.run_folder import RunFolder, write_leaderboard
from hpo_pipeline.selection import rank, winner
from hpo_pipeline.wording import no_winner


class KatibRun:
    """One run of an experiment on a cluster, recorded in a folder of this machine."""

    def __init__(
        self, experiment: Experiment, folder: RunFolder, api: Api, *, progress: Progress
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._api = api
        self._progress = progress

    def run(self, source: Path | None, registry_uri: str | None = None) -> SearchResult:
        """Start the experiment, or come back to it, and follow it to its end.

        Args:
            source: its file; None for one that is in the cluster already.

        Raises:
            ExperimentError, BackendError: before anything starts, with all findings.
            Interrupted: by Ctrl-C or SIGTERM; the experiment goes on in the cluster.
        """
        with self._folder.locked(), Interruption().installed() as interruption:
            manifest.manifests(self._experiment)
            wrong = preflight.faults(preflight.examine(self._experiment, self._api))
            if wrong:
                listed = "".join(f"\n  - {line}" for line in wrong)
                raise BackendError(f"the cluster is not ready for this experiment:{listed}")
            self._folder.adopt(self._experiment)
            self._folder.write_state(state="running", reason=None, engine="katib")
            engine = KatibEngine(
                self._experiment, self._api, progress=self._progress, finished=self._record
            )
            try:
                if not engine.apply(self._earlier(source, registry_uri)):
                    self._progress.say(f"goes on with {self._experiment.name} in the cluster")
                trials, state, said = engine.follow(interruption)
            except HpoError as error:
                name = "interrupted" if isinstance(error, Interrupted) else "failed"
                self._folder.write_state(state=name, reason=str(error).splitlines()[0])
                raise
            self._conclude(trials, state, said, engine.seconds())
        return self._folder.result()

    def _earlier(self, source: Path | None, registry_uri: str | None) -> list[Trial]:
        names = self._experiment.search.warm_start
        if not names or source is None:
            return []
        section = self._experiment.register_
        registry = open_registry(registry_uri or (section.registry if section else None))
        return earlier_trials(names, source.parent, registry)

    def _record(self, trial: Trial) -> None:
        folder = self._folder.trials / trial.name
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RESULT_FILE, trial.to_json())

    def _conclude(self, trials: list[Trial], state: str, said: str, seconds: float) -> None:
        for trial in trials:
            if trial.state.is_final:
                self._record(trial)
        ended = [trial for trial in trials if trial.state.is_final]
        ranked = rank(self._experiment, ended)
        others = [trial for trial in ended if trial not in ranked]
        write_leaderboard(self._folder.path / "leaderboard.csv", [*ranked, *others])
        best = winner(self._experiment, ended)
        reason: str | None = early_end(self._experiment, ended, said)
        if best is None:
            self._folder.write_state(
                state="failed", reason=no_winner(ended, ranked, reason), seconds=seconds
            )
            return
        model = trials_folder(self._experiment) / best.name / MODEL_FOLDER
        found = Winner(best.name, best.assignments, best.metrics, model=f"storage:{model}")
        self._folder.write_state(state=state, reason=reason, seconds=seconds, winner=asdict(found))


def early_end(experiment: Experiment, trials: list[Trial], said: str) -> str | None:
    """Return why a search ended before its last trial, in the words of the local engine."""
    failed = sum(trial.state is TrialState.FAILED for trial in trials)
    if failed > experiment.budget.max_failed:
        allowed = experiment.budget.max_failed
        return f"{failed} trials failed, and budget.max_failed allows {allowed}"
    usual = ("max trial count", "max failed count")
    because = said.partition(" because ")[2]
    return None if not because or any(word in because for word in usual) else because
