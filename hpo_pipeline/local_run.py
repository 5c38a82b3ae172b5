"""The whole flow on this machine: check, prepare, search, select, evaluate, register, report.

Each step can be repeated: what is done is found and not done again, so that running the same
command after whatever happened goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hpo_pipeline.assets import ASSETS, cache_folder, fetch
from hpo_pipeline.backends import machine
from hpo_pipeline.backends.interruption import Interrupted, Interruption
from hpo_pipeline.backends.local import LocalEngine
from hpo_pipeline.backends.processes import ProcessServer, ServerDied
from hpo_pipeline.card import Evidence, model_card
from hpo_pipeline.errors import BackendError, DataError, HpoError
from hpo_pipeline.experiment import Experiment
from hpo_pipeline.objective import with_score
from hpo_pipeline.progress import Progress
from hpo_pipeline.register import register
from hpo_pipeline.registry import open_registry
from hpo_pipeline.results import (
    DATASET_FILE,
    MODEL_FOLDER,
    SearchResult,
    Trial,
    TrialState,
    Winner,
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
        dataset = self._prepare()
        interruption.check()
        trials, ended = self._search(dataset, interruption)
        ranked = rank(self._experiment, trials)
        others = [trial for trial in trials if trial not in ranked]
        write_leaderboard(self._folder.path / "leaderboard.csv", [*ranked, *others])
        best = winner(self._experiment, trials)
        if best is None:
            self._folder.write_state(
                state="failed", reason=_no_winner(trials, ranked, ended), winner=None
            )
        else:
            self._conclude(best, trials, dataset, registry_uri)
            failed = sum(trial.state == TrialState.FAILED for trial in trials)
            is_failed = failed > self._experiment.budget.max_failed
            self._folder.write_state(state="failed" if is_failed else "succeeded", reason=ended)
        self._report()

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

    def _search(self, dataset: Path, interruption: Interruption) -> tuple[list[Trial], str | None]:
        for attempt in range(1, SERVER_STARTS + 1):
            engine = LocalEngine(
                self._experiment,
                self._folder,
                dataset=dataset,
                server=self._server,
                progress=self._progress,
            )
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

    def _conclude(
        self, best: Trial, trials: Sequence[Trial], dataset: Path, registry_uri: str | None
    ) -> None:
        """Evaluate the winner on the held-out rows, write its folder, and register it."""
        known = self._folder.state().get("winner") or {}
        is_known = known.get("name") == best.name and self._folder.model.is_dir()
        if not is_known:
            self._progress.say(f"{best.name} is the best; it is evaluated on the test rows")
            _copy_folder(self._folder.trials / best.name / MODEL_FOLDER, self._folder.model)
        test = known.get("test") if is_known else None
        if not test:
            test = self._evaluate(self._folder.model, dataset, best)
        meta = json.loads((dataset / DATASET_FILE).read_text("utf-8"))
        card = model_card(self._experiment, best, self._evidence(meta, test, trials))
        (self._folder.model / "README.md").write_text(card, "utf-8")
        result = Winner(best.name, best.assignments, best.metrics, test, str(self._folder.model))
        self._folder.write_state(winner=asdict(result), fingerprint=meta["fingerprint"])
        if self._experiment.register_ is None:
            return
        registration = register(
            self._experiment,
            best,
            self._folder.model,
            registry=open_registry(registry_uri or self._experiment.register_.registry),
            evidence={"data_hash": meta["fingerprint"], **_revision(self._source.parent)},
            test=test,
            evaluate=lambda model: self._evaluate(model, dataset, best),
        )
        record = registration.record
        named = f"{record.name} version {record.version}"
        result = replace(result, registered=named, note=registration.reason)
        self._folder.write_state(winner=asdict(result))
        self._progress.say(f"registered as {named}: {registration.reason}")

    def _evaluate(self, model: Path, dataset: Path, best: Trial) -> dict[str, float]:
        """Return the metrics of a model folder on the test rows, measured alone on the machine."""
        out = self._folder.path / "evaluated.json"
        out.unlink(missing_ok=True)
        log = self._folder.path / "evaluate.log"
        task = self._experiment.task
        length = best.assignments.get("task.max_length", task.max_length)
        argv = ["--experiment", str(self._folder.experiment_file), "--dataset", str(dataset)]
        argv += ["--model", str(model), "--max-length", str(length), "--out", str(out)]
        code = self._server.run("evaluate", "evaluate", argv, log=log)
        if not out.exists():
            raise BackendError(f"{model}: the evaluation ended with exit code {code}; see {log}")
        content = json.loads(out.read_text("utf-8"))
        if "error" in content:
            raise DataError(content["error"])
        is_own = model == self._folder.model
        own = {"train_seconds": best.metrics["train_seconds"]} if is_own else {}
        return with_score({**content["metrics"], **own}, self._experiment.objective)

    def _evidence(
        self, meta: Mapping[str, Any], test: Mapping[str, float], trials: Sequence[Trial]
    ) -> Evidence:
        asset = ASSETS.get(self._experiment.task.model)
        return Evidence(
            test=test,
            counts=SearchResult("", "", 0.0, tuple(trials)).counts(),
            source=meta["source"],
            fingerprint=meta["fingerprint"],
            rows=meta["rows"],
            labels=meta["labels"],
            majority=meta["majority"],
            licence=asset.licence if asset else None,
            base_model=asset.source if asset else self._experiment.task.model,
        )

    def _report(self) -> None:
        """Write the report in a process of its own: its plots need much memory."""
        command = [sys.executable, "-m", "hpo_pipeline.report", str(self._folder.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            self._progress.say(f"the report could not be written: {lines[-1]}")


def _copy_folder(source: Path, target: Path) -> None:
    """Replace a folder by a copy of another, never leaving half of it under its name."""
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)


def _no_winner(trials: Sequence[Trial], ranked: Sequence[Trial], ended: str | None) -> str:
    """Say why there is no winner."""
    start = f"{ended}; " if ended else ""
    if ranked:
        return f"{start}no trial satisfies the constraints"
    reasons = dict.fromkeys(t.reason for t in trials if t.reason)
    listed = "; ".join(list(map(str, reasons))[:3])
    return f"{start}no trial has a result{': ' + listed if listed else ''}"


def _revision(folder: Path) -> dict[str, str]:
    """Return the git commit of the experiment file, if there is one."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"source_revision": done.stdout.strip()}
