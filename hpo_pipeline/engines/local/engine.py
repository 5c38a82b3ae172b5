"""This machine as an engine: a process server, and everything in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from hpo_pipeline.data.assets import ASSETS, fetch, prepared_folder
from hpo_pipeline.engines import RunContext, Searched
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.local import hardware
from hpo_pipeline.engines.local.job_runner import JobRunner
from hpo_pipeline.engines.local.process_runner import ProcessRunner
from hpo_pipeline.engines.local.server_client import ProcessServer, ServerDied
from hpo_pipeline.engines.loop.search_loop import SearchLoop
from hpo_pipeline.results.job import Job, JobOutput, JobPlaces
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.run_names import is_run_of
from hpo_pipeline.results.run_paths import EXPERIMENT_FILE
from hpo_pipeline.results.trial import Trial
from hpo_pipeline.trial.names import LOG_FORMAT_VARIABLE, QUIET_VARIABLE, RUN_ID_VARIABLE

SERVER_STARTS = 3
PREPARE = Job("prepare", "prepare")

T = TypeVar("T")


@contextmanager
def open_engine(context: RunContext) -> Iterator[LocalEngine]:
    """Open this machine as an engine; the process server ends with the block."""
    engine = LocalEngine(context)
    try:
        yield engine
    finally:
        engine.close()


class LocalEngine:
    """Runs one run's trials and jobs as processes of this machine."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._folder = context.folder
        self._running: ProcessServer | None = None
        self._dataset = context.dataset

    def close(self) -> None:
        """End the process server, and with it every process that still runs."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def search(self, earlier: Sequence[Trial], interruption: Interruption) -> Searched:
        dataset = self._prepared(interruption)
        self._server.wait_until_ready()
        self._server.warm(self._folder.experiment_file)
        interruption.check()

        def attempt() -> Searched:
            runner = ProcessRunner(self._context, self._server, interruption, dataset=dataset)
            try:
                trials, ended = SearchLoop(self._context, runner, earlier=earlier).run(interruption)
            finally:
                runner.close()
            return Searched(tuple(trials), ended)

        return self._with_server(attempt)

    def run(self, jobs: Sequence[Job], interruption: Interruption) -> Sequence[JobOutput]:
        if any(job.kind != PREPARE.kind for job in jobs):
            self._prepared(interruption)
        else:
            self._fetch_assets()
        runner = JobRunner(
            self._folder,
            slots=self._slots(),
            argv=self._argv,
            ended=self._show_job,
            environment=self._context.tracing.environment(),
        )

        def attempt() -> list[JobOutput]:
            self._server.wait_until_ready()
            return runner.run(jobs, self._server, interruption)

        return self._with_server(attempt)

    def previous(self, name: str) -> Sequence[Trial] | None:
        beside = self._folder.path.parent.glob(f"*/{EXPERIMENT_FILE}")
        runs = [file.parent for file in beside if is_run_of(file.parent.name, name)]
        others = [run for run in runs if run != self._folder.path]
        if not others:
            return None
        last = max(others, key=lambda run: (run / EXPERIMENT_FILE).stat().st_mtime)
        return RunFolder(last).finished_trials()

    def _prepared(self, interruption: Interruption) -> Path:
        """Return the prepared dataset; the run is bound to what it holds."""
        if self._dataset is None:
            (output,) = self.run([PREPARE], interruption)
            found = output.result()
            notes = tuple(map(str, found.get("notes") or ()))
            for note in notes:
                self._context.progress.say(note)
            self._folder.use_data(str(found["fingerprint"]))
            self._dataset = Path(found["dataset"])
            self._folder.update(dataset=str(self._dataset), data_notes=notes)
        return self._dataset

    def _argv(self, job: Job, out: Path) -> list[str]:
        context = self._context
        places = JobPlaces(
            experiment=self._folder.experiment_file,
            run=self._folder.path,
            out=out,
            dataset=self._dataset,
            datasets=prepared_folder(),
            registry=context.registry,
            source=str(context.source) if context.source else None,
        )
        return [*job.arguments, *places.argv()]

    def _slots(self) -> int:
        experiment = self._context.experiment
        gpus = len(hardware.gpus()) * experiment.local.trials_per_gpu
        return min(experiment.budget.parallel, gpus) if gpus else experiment.budget.parallel

    def _show_job(self, output: JobOutput) -> None:
        state = (output.answer or {}).get("state")
        if state is not None:  # of a training; what other jobs find is shown by their stages
            reason = (output.answer or {}).get("reason")
            self._context.progress.say(f"{output.name} {state}" + f": {reason}" * bool(reason))

    @property
    def _server(self) -> ProcessServer:
        if self._running is None:
            self._running = self._start_server()
        return self._running

    def _start_server(self) -> ProcessServer:
        experiment = self._context.experiment
        threads = experiment.local.threads
        if threads is None:
            threads = max(1, hardware.cores() // experiment.budget.parallel)
        environment = {
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            QUIET_VARIABLE: str(self._folder.quiet),
            RUN_ID_VARIABLE: self._folder.state().run_id or "",
            LOG_FORMAT_VARIABLE: self._context.log_format,
        }
        return ProcessServer(self._folder.server_log, environment)

    def _fetch_assets(self) -> None:
        """Fetch what is missing here, where a person sees the progress, while the server loads."""
        _ = self._server
        task = self._context.experiment.task
        for name in (task.model, *task.sources):
            if name in ASSETS and not ASSETS[name].is_built_in:
                fetch(name)

    def _with_server(self, attempt: Callable[[], T]) -> T:
        """Do something on the process server, again on a new one where it dies."""
        for left in reversed(range(SERVER_STARTS)):
            try:
                return attempt()
            except ServerDied as error:
                if not left:
                    raise
                self._context.progress.say(f"{error}; it is started again")
                self.close()
                self._server.wait_until_ready()
        raise AssertionError("unreachable")
