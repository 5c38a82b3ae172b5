"""A cluster as the site of a run: Katib searches, jobs of the trial image do everything else.

Models, datasets and the folder of the run stay in the storage; what comes back here are results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hpo_pipeline.engines import Needed, Searched
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.katib import doctor, manifest
from hpo_pipeline.engines.katib.lookup import load_experiment
from hpo_pipeline.engines.katib.remote_experiment import RemoteExperiment
from hpo_pipeline.engines.kubernetes.api import CONFIG_MAPS, EXPERIMENTS, Api, Object
from hpo_pipeline.engines.kubernetes.jobs import Ended, Jobs
from hpo_pipeline.engines.kubernetes.pods import (
    EXPERIMENT_FILE,
    EXPERIMENT_MOUNT,
    STORAGE_MOUNT,
    run_folder,
    work_job,
)
from hpo_pipeline.errors import BackendError, ClusterError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.experiment.space import render
from hpo_pipeline.report.terminal import Progress
from hpo_pipeline.results.confirmation import Replicate
from hpo_pipeline.results.job_output import TERMINATION_MESSAGE, checked
from hpo_pipeline.results.outcome import (
    GateResult,
    RegistrationResult,
    SearchFacts,
    SearchResult,
    Selected,
)
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.run_names import is_run_of
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.trial.command import TrialCommand

CONFLICT, NOT_FOUND, FORBIDDEN = 409, 404, 403
DATASETS = STORAGE_MOUNT / "datasets"
REGISTRY = STORAGE_MOUNT / "models"


class KatibEngine:
    """A run on a cluster, whose results are kept in a folder of this machine as well."""

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        api: Api,
        *,
        progress: Progress,
        registry: str | None = None,
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._api = api
        self._progress = progress
        self._registry = registry
        self._namespace = experiment.cluster.namespace
        self._jobs = Jobs(api, self._namespace, experiment.name, say=progress.say)

    def check(self) -> None:
        """Look whether the cluster can run the experiment.

        Raises:
            BackendError: with all findings.
            ExperimentError: the experiment can run on no cluster.
        """
        manifest.manifests(self._experiment)
        wrong = doctor.faults(doctor.examine(self._experiment, self._api))
        if wrong:
            listed = "".join(f"\n  - {line}" for line in wrong)
            raise BackendError(f"the cluster is not ready for this experiment:{listed}")

    def prepare(self, interruption: Interruption) -> dict[str, Any]:
        """Prepare the data in the storage, by a job; return what and where they are.

        Raises:
            DataError: they cannot be used.
        """
        argv = ["hpo_pipeline.jobs.prepare", "--experiment", _experiment_file()]
        argv += ["--source", self._experiment.name, "--datasets", str(DATASETS), "--shared"]
        ended = self._work("prepare", [*argv, *self._storage()], interruption, owner=None)
        return ended.answer or {}

    def earlier(self, name: str) -> Sequence[Trial] | None:
        items = self._api.list(EXPERIMENTS, self._namespace)["items"]
        runs = [
            item["metadata"]
            for item in items
            if is_run_of(item["metadata"]["name"], name) or item["metadata"]["name"] == name
        ]
        others = [run for run in runs if run["name"] != self._experiment.name]
        if not others:
            return None
        last = max(others, key=lambda run: str(run["creationTimestamp"]))["name"]
        experiment = load_experiment(self._api, self._namespace, last)
        trials, _, _ = RemoteExperiment(experiment, self._api, progress=self._progress).read()
        self._progress.say(f"learns from {last}")
        return [trial for trial in trials if trial.state.is_final]

    def search(self, earlier: Sequence[Trial], interruption: Interruption) -> Searched:
        if not self._is_there():
            self.check()
        engine = self._engine()
        if not engine.apply(earlier):
            self._progress.say(f"goes on with {self._experiment.name} in the cluster")
        trials, state, said = engine.follow(interruption)
        ended = [trial for trial in trials if trial.state.is_final]
        for trial in ended:
            self._folder.record(trial)
        why = early_end(self._experiment, ended, said)
        return Searched(tuple(ended), why, state == "failed", engine.seconds())

    def train(
        self, runs: Sequence[Replicate], needed: Needed, interruption: Interruption
    ) -> Sequence[Trial]:
        folder = self._folder.confirmation
        folder.trials.mkdir(parents=True, exist_ok=True)
        folder.adopt(self._experiment)
        done = {run.name: read_trial(folder.trials / run.name) for run in runs}
        left = [run for run in runs if done[run.name] is None]
        config, owner = self._config(), self._owner()
        jobs = [
            work_job(self._experiment, config, run.name, self._training(run), owner=owner)
            for run in left
        ]
        by_name = {run.name: run for run in left}

        def record(job: Ended) -> None:
            trial = _trial(by_name[job.name], job)
            folder.record(trial)
            self._progress.say(f"{job.name} {trial.state.value}")

        parallel = self._experiment.budget.parallel
        self._jobs.run(jobs, parallel=parallel, interruption=interruption, ended=record)
        found = [read_trial(folder.trials / run.name) for run in runs]
        return [trial for trial in found if trial is not None]

    def has_model(self, chosen: Selected) -> bool:
        kept = self._folder.state().get("kept")
        # Before the first gate all are there; after it, those that it has kept.
        return kept is None or chosen.run in kept

    def model_uri(self) -> str:
        uri = self._experiment.cluster.storage.uri
        if uri:
            return f"{uri.rstrip('/')}/runs/{self._experiment.name}/model"
        return f"storage:{run_folder(self._experiment) / 'model'}"

    def gate(self, chosen: Selected, told: SearchFacts, interruption: Interruption) -> GateResult:
        ended = self._conclude("gate", chosen, told, interruption)
        return replace(GateResult.from_json(ended.answer or {}), image=ended.image)

    def register(
        self, chosen: Selected, told: SearchFacts, interruption: Interruption
    ) -> RegistrationResult:
        ended = self._conclude("register", chosen, told, interruption)
        return RegistrationResult(**(ended.answer or {}))

    def standing(self) -> SearchResult | None:
        """Return the search as it stands on the cluster; None where there is none."""
        engine = self._engine()
        try:
            trials, state, said = engine.read()
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        name = self._experiment.name
        return SearchResult(name, state, engine.seconds(), tuple(trials), reason=said or None)

    def stop(self, reason: str) -> bool:
        """End the experiment and the jobs around it, if they run; return whether some did.

        Raises:
            ClusterError: the cluster refuses it.
        """
        stopped = self._jobs.stop()
        found = self.standing()
        is_running = found is not None and found.state == "running"
        if is_running:
            self._engine().stop(reason)
            self._progress.say(f"{self._experiment.name} ends: {reason}")
        return is_running or stopped > 0

    def _conclude(
        self, stage: str, chosen: Selected, told: SearchFacts, interruption: Interruption
    ) -> Ended:
        argv = ["hpo_pipeline.jobs.promote", stage, "--experiment", _experiment_file()]
        argv += ["--run", str(run_folder(self._experiment)), "--datasets", str(DATASETS)]
        argv += ["--registry", self._registry_uri()]
        argv += ["--chosen", json.dumps(asdict(chosen)), "--told", json.dumps(told.to_json())]
        return self._work(stage, [*argv, *self._storage()], interruption, owner=self._owner())

    def _work(
        self, what: str, argv: list[str], interruption: Interruption, *, owner: Object | None
    ) -> Ended:
        """Run one job and return how it ended, with an answer that is no error."""
        cluster = self._experiment.cluster.model_dump_json()
        digest = hashlib.sha256(json.dumps([argv, cluster]).encode()).hexdigest()[:8]
        name = f"{self._experiment.name}-{what}-{digest}"
        argv = [*argv, "--out", str(TERMINATION_MESSAGE)]
        job = work_job(self._experiment, self._config(), name, argv, owner=owner)
        (ended,) = self._jobs.run([job], parallel=1, interruption=interruption)
        if ended.answer is None:
            raise BackendError(f"job {name} failed: {ended.reason}")
        checked(ended.answer)
        return ended

    def _training(self, run: Replicate) -> list[str]:
        command = TrialCommand(
            experiment=Path(_experiment_file()),
            dataset=None,
            datasets=DATASETS,
            output=run_folder(self._experiment) / "confirm" / "trials",
            name=run.name,
            number=run.number,
            assignments={n: render(v) for n, v in run.trial.assignments.items()},
            seed=run.seed,
            storage=self._experiment.cluster.storage.uri,
            answer=TERMINATION_MESSAGE,
        )
        return ["hpo_pipeline.trial", *command.argv()]

    def _storage(self) -> list[str]:
        uri = self._experiment.cluster.storage.uri
        return ["--storage", uri] if uri else []

    def _registry_uri(self) -> str:
        """Return the registry as a pod sees it: a folder lies in the storage."""
        section = self._experiment.register_
        found = self._registry or (section.registry if section else None) or str(REGISTRY)
        if "://" in found or Path(found).is_absolute():
            return found
        return str(STORAGE_MOUNT / found)

    def _config(self) -> str:
        """Return the name of the ConfigMap with the experiment, which is made if need be."""
        body = manifest.config_map(self._experiment)
        try:
            self._api.create(CONFIG_MAPS, self._namespace, body)
        except ClusterError as error:
            if error.status != CONFLICT:
                raise
        name: str = body["metadata"]["name"]
        return name

    def _owner(self) -> Object | None:
        try:
            return self._api.get(EXPERIMENTS, self._namespace, self._experiment.name)
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def _is_there(self) -> bool:
        """Tell whether the experiment is on the cluster: Katib has taken it, whatever is amiss now.

        Where we may not look, the check that follows names all that we may not do.
        """
        try:
            return self._owner() is not None
        except ClusterError as error:
            if error.status != FORBIDDEN:
                raise
            return False

    def _engine(self) -> RemoteExperiment:
        return RemoteExperiment(
            self._experiment,
            self._api,
            progress=self._progress,
            finished=self._folder.record,
        )


def early_end(experiment: Experiment, trials: Sequence[Trial], said: str) -> str | None:
    """Return why a search ended before its last trial, in the words of the local engine."""
    failed = sum(trial.state is TrialState.FAILED for trial in trials)
    if failed > experiment.budget.max_failed:
        allowed = experiment.budget.max_failed
        return f"{failed} trials failed, and budget.max_failed allows {allowed}"
    usual = ("max trial count", "max failed count")
    because = said.partition(" because ")[2]
    return None if not because or any(word in because for word in usual) else because


def _experiment_file() -> str:
    return str(EXPERIMENT_MOUNT / EXPERIMENT_FILE)


def _trial(run: Replicate, job: Ended) -> Trial:
    """Return the result of a training, or a failed one with the reason."""
    if job.answer is not None and "state" in job.answer:
        return Trial.from_json(job.answer)
    reason = job.reason or "it left no result"
    return Trial(run.name, run.number, TrialState.FAILED, run.trial.assignments, reason=reason)
