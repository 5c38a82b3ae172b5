"""This machine as the site of a run: a process server, the local engine, models in the folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hpo_pipeline.data.assets import ASSETS, cache_folder, fetch
from hpo_pipeline.engines import Needed, Searched
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.local import hardware
from hpo_pipeline.engines.local.reruns import Reruns, for_reruns
from hpo_pipeline.engines.local.search_loop import SearchLoop
from hpo_pipeline.engines.local.server_client import ProcessServer, ServerDied
from hpo_pipeline.errors import BackendError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.jobs.commands import evaluation_argv
from hpo_pipeline.jobs.promotion import Promotion
from hpo_pipeline.registry import open_registry
from hpo_pipeline.report.terminal import Progress
from hpo_pipeline.results.confirmation import Replicate
from hpo_pipeline.results.files import MODEL_FOLDER
from hpo_pipeline.results.job_output import read_answer
from hpo_pipeline.results.outcome import (
    Evaluation,
    GateResult,
    RegistrationResult,
    SearchFacts,
    Selected,
)
from hpo_pipeline.results.run_folder import EXPERIMENT_FILE, RunFolder, is_kept, run_place
from hpo_pipeline.results.run_names import is_run_of
from hpo_pipeline.results.trial import Trial

SERVER_STARTS = 3


class LocalEngine:
    """A run in a folder of this machine.

    `source` is the experiment file, for messages, for the user's metrics beside it and for the
    registry; `dataset` is a prepared dataset, where there is one already. Call `close` in any
    case.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        *,
        source: Path,
        progress: Progress,
        registry: str | None = None,
        dataset: Path | None = None,
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._source = source
        self._progress = progress
        self._registry = registry
        self._given = dataset
        self._running: ProcessServer | None = None

    def close(self) -> None:
        """End the process server, if there is one."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def prepare(self, datasets: Path | None = None) -> dict[str, Any]:
        """Prepare the data in a folder of datasets; return what and where they are.

        Raises:
            ExperimentError, DataError: the experiment or its data are wrong.
        """
        answer = self._folder.path / "prepared.json"
        answer.unlink(missing_ok=True)
        log = self._folder.path / "prepare.log"
        argv = ["--experiment", str(self._folder.experiment_file), "--source", str(self._source)]
        argv += ["--datasets", str(datasets or cache_folder() / "datasets"), "--out", str(answer)]
        server = self._server
        self._fetch_assets()
        server.wait_until_ready()
        code = server.run("prepare", "prepare", argv, log=log)
        if not answer.exists():
            raise BackendError(f"the data could not be prepared (exit code {code}); see {log}")
        found = read_answer(answer)
        self._folder.write_state(dataset=found["dataset"])
        return found

    def earlier(self, name: str) -> Sequence[Trial] | None:
        beside = self._folder.path.parent.glob(f"*/{EXPERIMENT_FILE}")
        runs = [file.parent for file in beside if is_run_of(file.parent.name, name)]
        others = [run for run in runs if run != self._folder.path]
        if not others:
            return None
        last = max(others, key=lambda run: (run / EXPERIMENT_FILE).stat().st_mtime)
        return RunFolder(last).finished_trials()

    def search(self, earlier: Sequence[Trial], interruption: Interruption) -> Searched:
        server, dataset = self._server, self._dataset
        server.wait_until_ready()
        server.warm(self._folder.experiment_file)
        interruption.check()

        def engine() -> SearchLoop:
            return SearchLoop(
                self._experiment,
                self._folder,
                dataset=dataset,
                server=self._server,
                progress=self._progress,
                earlier=earlier,
            )

        trials, ended = self._drive(engine, interruption)
        return Searched(tuple(trials), ended)

    def train(
        self, runs: Sequence[Replicate], needed: Needed, interruption: Interruption
    ) -> Sequence[Trial]:
        folder = self._folder.confirmation
        folder.trials.mkdir(parents=True, exist_ok=True)
        folder.adopt(self._experiment)
        dataset = self._dataset
        self._server.wait_until_ready()

        def engine() -> SearchLoop:
            return SearchLoop(
                for_reruns(self._experiment, runs),
                folder,
                dataset=dataset,
                server=self._server,
                progress=self._progress,
                reruns=Reruns(runs, folder.trials, needed=needed),
            )

        return self._drive(engine, interruption)[0]

    def has_model(self, chosen: Selected) -> bool:
        is_there = (run_place(self._folder, chosen) / MODEL_FOLDER).is_dir()
        return is_there or is_kept(self._folder, chosen)

    def model_uri(self) -> str:
        return str(self._folder.model)

    def gate(self, chosen: Selected, told: SearchFacts, interruption: Interruption) -> GateResult:
        found = self._conclusion().gate(chosen, told)
        kept = run_place(self._folder, chosen) / MODEL_FOLDER
        for other in self._folder.confirmation.trials.glob(f"*/{MODEL_FOLDER}"):
            if other != kept:
                shutil.rmtree(other)
        return found

    def register(
        self, chosen: Selected, told: SearchFacts, interruption: Interruption
    ) -> RegistrationResult:
        return self._conclusion().register(chosen, told)

    def _conclusion(self) -> Promotion:
        section = self._experiment.register_
        registry = open_registry(self._registry or section.registry) if section else None
        return Promotion(
            self._experiment,
            self._folder,
            self._dataset,
            measure=self._measure,
            registry=registry,
        )

    def _measure(self, model: Path, max_length: int) -> Evaluation:
        out = self._folder.path / "evaluated.json"
        out.unlink(missing_ok=True)
        log = self._folder.path / "evaluate.log"
        experiment, dataset = self._folder.experiment_file, self._dataset
        argv = evaluation_argv(experiment, dataset, model, max_length, out)
        server = self._server
        server.wait_until_ready()
        code = server.run("evaluate", "evaluate", argv, log=log)
        if not out.exists():
            raise BackendError(f"{model}: the evaluation ended with exit code {code}; see {log}")
        return Evaluation.from_json(read_answer(out))

    @cached_property
    def _dataset(self) -> Path:
        return self._given or Path(self.prepare()["dataset"])

    @property
    def _server(self) -> ProcessServer:
        if self._running is None:
            self._running = self._start_server()
        return self._running

    def _start_server(self) -> ProcessServer:
        threads = self._experiment.local.threads
        if threads is None:
            threads = max(1, hardware.cores() // self._experiment.budget.parallel)
        paths = [str(self._source.parent.resolve()), os.environ.get("PYTHONPATH", "")]
        environment = {
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),  # the user's metrics
        }
        return ProcessServer(self._folder.path / "server.log", environment)

    def _fetch_assets(self) -> None:
        """Fetch what is missing here, where a person sees the progress, while the server loads."""
        for name in (self._experiment.task.model, self._experiment.task.data):
            if name in ASSETS and not ASSETS[name].is_built_in:
                fetch(name)

    def _drive(
        self, make_engine: Callable[[], SearchLoop], interruption: Interruption
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
                self.close()
                self._server.wait_until_ready()
        raise AssertionError("unreachable")
