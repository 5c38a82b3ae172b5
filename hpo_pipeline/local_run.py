"""The whole flow on this machine: prepare, search, select, confirm, evaluate, register, report.

Each step can be repeated: what is done is found and not done again, so that running the same
command after whatever happened goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from hpo_pipeline import wording
from hpo_pipeline.assets import ASSETS, cache_folder, fetch
from hpo_pipeline.backends import machine
from hpo_pipeline.backends.interruption import Interrupted, Interruption
from hpo_pipeline.backends.local import LocalEngine
from hpo_pipeline.backends.processes import ProcessServer, ServerDied
from hpo_pipeline.backends.reruns import Needed, Reruns, for_reruns
from hpo_pipeline.confirm import (
    Run,
    confirm,
    confirmed_winner,
    needed_models,
    no_winner,
    planned,
    run_of,
)
from hpo_pipeline.earlier import earlier_trials
from hpo_pipeline.errors import BackendError, DataError, HpoError
from hpo_pipeline.experiment import Experiment
from hpo_pipeline.local_conclusion import Chosen, LocalConclusion
from hpo_pipeline.progress import Progress
from hpo_pipeline.registry import open_registry
from hpo_pipeline.results import (
    SearchResult,
    Trial,
    TrialState,
    read_trial,
)
from hpo_pipeline.run_folder import RunFolder, write_leaderboard
from hpo_pipeline.selection import rank, winner

SERVER_STARTS = 3


class LocalRun:
    """One run of an experiment in a folder of this machine."""

    def __init__(
        self, experiment: Experiment, folder: RunFolder, *, source: Path, progress: Progress
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._source = source
        self._progress = progress

    def run(self, registry_uri: str | None = None) -> SearchResult:
        """Run the experiment to its end, or go on with it.

        Raises:
            ExperimentError, DataError: before anything starts.
            BackendError: the search cannot go on.
            Interrupted: by Ctrl-C or SIGTERM; the same command goes on.
        """
        with self._folder.locked(), Interruption().installed() as interruption:
            self._folder.adopt(self._experiment)
            self._folder.write_state(state="running", reason=None)
            self._server = self._start_server()
            try:
                self._run(registry_uri, interruption)
            except HpoError as error:
                state = "interrupted" if isinstance(error, Interrupted) else "failed"
                self._folder.write_state(state=state, reason=str(error))
                raise
            finally:
                self._server.close()
        return self._folder.result()

    def _run(self, registry_uri: str | None, interruption: Interruption) -> None:
        earlier = self._earlier(registry_uri)
        dataset = self._prepare()
        interruption.check()
        trials, ended = self._search(dataset, earlier, interruption)
        ranked = rank(self._experiment, trials)
        others = [trial for trial in trials if trial not in ranked]
        write_leaderboard(self._folder.path / "leaderboard.csv", [*ranked, *others])
        chosen: Chosen | str = wording.no_winner(trials, ranked, ended)
        best = winner(self._experiment, trials)
        if best is not None:
            chosen = Chosen(best, best, self._folder.trials, self._experiment.search.seed)
            if self._experiment.confirm is not None:
                chosen = self._confirm(trials, dataset, interruption)
        if isinstance(chosen, str):
            self._folder.write_state(state="failed", reason=chosen, winner=None)
        else:
            chosen = self._with_model(chosen, dataset, interruption)
            self._conclusion().conclude(chosen, trials, dataset, registry_uri)
            failed = sum(trial.state == TrialState.FAILED for trial in trials)
            is_failed = failed > self._experiment.budget.max_failed
            self._folder.write_state(state="failed" if is_failed else "succeeded", reason=ended)
        self._report()

    def _earlier(self, registry_uri: str | None) -> list[Trial]:
        """Return the trials that the search learns from; empty where it has begun already."""
        names = self._experiment.search.warm_start
        if not names or self._folder.journal.exists():
            return []
        section = self._experiment.register_
        registry = open_registry(registry_uri or (section.registry if section else None))
        return earlier_trials(names, self._source.parent, registry)

    def _start_server(self) -> ProcessServer:
        threads = self._experiment.local.threads
        if threads is None:
            threads = max(1, machine.cores() // self._experiment.budget.parallel)
        paths = [str(self._source.parent.resolve()), os.environ.get("PYTHONPATH", "")]
        environment = {
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),  # the user's metrics
        }
        return ProcessServer(self._folder.path / "server.log", environment)

    def _prepare(self) -> Path:
        answer = self._folder.path / "prepared.json"
        answer.unlink(missing_ok=True)
        log = self._folder.path / "prepare.log"
        argv = ["--experiment", str(self._folder.experiment_file), "--source", str(self._source)]
        argv += ["--datasets", str(cache_folder() / "datasets"), "--out", str(answer)]
        self._fetch_assets()
        self._server.wait_until_ready()
        code = self._server.run("prepare", "prepare", argv, log=log)
        if not answer.exists():
            raise BackendError(f"the data could not be prepared (exit code {code}); see {log}")
        content = json.loads(answer.read_text("utf-8"))
        if "error" in content:
            error = DataError(content["error"])
            error.exit_code = content["exit_code"]
            raise error
        self._server.warm(self._folder.experiment_file)
        self._folder.write_state(dataset=content["dataset"])
        return Path(content["dataset"])

    def _fetch_assets(self) -> None:
        """Fetch what is missing here, where a person sees the progress, while the server loads."""
        for name in (self._experiment.task.model, self._experiment.task.data):
            if name in ASSETS and not ASSETS[name].is_built_in:
                fetch(name)

    def _search(
        self, dataset: Path, earlier: Sequence[Trial], interruption: Interruption
    ) -> tuple[list[Trial], str | None]:
        def engine() -> LocalEngine:
            return LocalEngine(
                self._experiment,
                self._folder,
                dataset=dataset,
                server=self._server,
                progress=self._progress,
                earlier=earlier,
            )

        return self._drive(engine, interruption)

    def _confirm(
        self, trials: Sequence[Trial], dataset: Path, interruption: Interruption
    ) -> Chosen | str:
        """Train the best configurations with other seeds and return the winner, or why none."""
        runs = planned(self._experiment, trials)
        folder = self._folder.confirmation.trials
        if any(read_trial(folder / run.name) is None for run in runs):
            tops, seeds = len({run.trial.name for run in runs}), len({run.seed for run in runs})
            self._progress.say(f"confirming the best {tops} with {seeds} other seeds each")
        needed = partial(needed_models, self._experiment, trials)
        results = {t.name: t for t in self._rerun(runs, needed, dataset, interruption)}
        confirmed = confirm(self._experiment, trials, results.values())
        for found in confirmed:
            self._progress.say(f"{found.trial}: {wording.confirmed(self._experiment, found)}")
        best = confirmed_winner(self._experiment, confirmed)
        if best is None:
            return no_winner(self._experiment, confirmed)
        run = next(run for run in runs if run.name == best.median)
        return Chosen(run.trial, results[run.name], folder, run.seed, best)

    def _rerun(
        self, runs: Sequence[Run], needed: Needed, dataset: Path, interruption: Interruption
    ) -> list[Trial]:
        folder = self._folder.confirmation
        folder.trials.mkdir(parents=True, exist_ok=True)
        folder.adopt(self._experiment)

        def engine() -> LocalEngine:
            return LocalEngine(
                for_reruns(self._experiment, runs),
                folder,
                dataset=dataset,
                server=self._server,
                progress=self._progress,
                reruns=Reruns(runs, folder.trials, needed=needed),
            )

        return self._drive(engine, interruption)[0]

    def _with_model(self, chosen: Chosen, dataset: Path, interruption: Interruption) -> Chosen:
        """Return the winner with its model, trained again where it was not kept.

        That is so where another winner is chosen from a search that is over: by another rule, or
        after more seeds.
        """
        run = run_of(self._experiment, chosen.trial, chosen.seed)
        folder = self._folder.confirmation.trials
        again = read_trial(folder / run.name)
        if chosen.has_model() or (again is None and self._conclusion().is_known(chosen)):
            return chosen
        kept = chosen if again is None else replace(chosen, result=again, folder=folder)
        if kept.has_model() or self._conclusion().is_known(kept):
            return kept
        self._progress.say(f"the model of {chosen.result.name} was not kept; it is trained again")
        shutil.rmtree(folder / run.name, ignore_errors=True)
        (again,) = self._rerun([run], lambda ended: {run.name}, dataset, interruption)
        if again.state == TrialState.FAILED:
            raise BackendError(f"{run.name}: could not be trained again: {again.reason}")
        return replace(chosen, result=again, folder=folder)

    def _drive(
        self, make_engine: Callable[[], LocalEngine], interruption: Interruption
    ) -> tuple[list[Trial], str | None]:
        """Run an engine to its end, with another one on a new server where the server dies."""
        for attempt in range(1, SERVER_STARTS + 1):
            engine = make_engine()
            try:
                return engine.run(interruption)
            except ServerDied as error:
                if attempt == SERVER_STARTS:
                    raise
                self._progress.say(f"{error}; it is started again")
                self._server.close()
                self._server = self._start_server()
                self._server.wait_until_ready()
        raise AssertionError("unreachable")

    def _conclusion(self) -> LocalConclusion:
        return LocalConclusion(
            self._experiment,
            self._folder,
            source=self._source,
            server=self._server,
            progress=self._progress,
        )

    def _report(self) -> None:
        """Write the report in a process of its own: its plots need much memory."""
        command = [sys.executable, "-m", "hpo_pipeline.report", str(self._folder.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            self._progress.say(f"the report could not be written: {lines[-1]}")
