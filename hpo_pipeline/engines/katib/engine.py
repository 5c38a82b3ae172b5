"""A cluster as an engine: Katib searches, jobs of the trial image do everything else.

Models, datasets and the folder of the run stay in the storage; what comes back here are results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hpo_pipeline.engines import RunContext, Searched
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.katib import doctor, manifest, status
from hpo_pipeline.engines.katib.faults import registry_fault
from hpo_pipeline.engines.katib.lookup import load_experiment
from hpo_pipeline.engines.katib.names import LOG_FORMAT_ANNOTATION
from hpo_pipeline.engines.katib.remote_experiment import RemoteExperiment
from hpo_pipeline.engines.katib.trial_template import algorithm_name
from hpo_pipeline.engines.kubernetes.api import CONFIG_MAPS, EXPERIMENTS, Api, KubernetesApi, Object
from hpo_pipeline.engines.kubernetes.jobs import Jobs
from hpo_pipeline.engines.kubernetes.pods import (
    EXPERIMENT_FILE,
    EXPERIMENT_MOUNT,
    STORAGE_MOUNT,
    run_folder,
    work_job,
)
from hpo_pipeline.engines.kubernetes.run_mark import marked, run_of
from hpo_pipeline.errors import BackendError, ClusterError, ExperimentError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.baseline import baseline_name
from hpo_pipeline.results.job import TERMINATION_MESSAGE, Job, JobOutput, JobPlaces
from hpo_pipeline.results.outcome import SearchResult
from hpo_pipeline.results.run_names import is_run_of
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from hpo_pipeline.trial.names import LOG_FORMAT_VARIABLE
from hpo_pipeline.trial.reporting.process_log import JSON

CONFLICT, NOT_FOUND, FORBIDDEN = 409, 404, 403
DATASETS = STORAGE_MOUNT / "datasets"
REGISTRY = STORAGE_MOUNT / "models"


@contextmanager
def open_engine(context: RunContext) -> Iterator[KatibEngine]:
    """Open the cluster of a run as an engine; nothing on it ends with the block."""
    yield KatibEngine(context)


def known_run_id(context: RunContext) -> str | None:
    """Return the id of the run that an experiment on the cluster carries; None without one."""
    try:
        api = context.cluster or KubernetesApi(context.kube_context)
        cluster = context.experiment.cluster
        return run_of(api.get(EXPERIMENTS, cluster.namespace, context.experiment.name))
    except ClusterError:
        return None  # whatever is wrong with the cluster is said when the engine uses it


class KatibEngine:
    """Runs one run's search as an experiment of Katib, and its jobs as Jobs of Kubernetes."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._experiment = context.experiment
        self._folder = context.folder
        self._progress = context.progress
        self._api: Api = context.cluster or KubernetesApi(context.kube_context)
        self._namespace = context.experiment.cluster.namespace
        self._jobs = Jobs(
            self._api,
            self._namespace,
            context.experiment.name,
            say=context.progress.say,
            with_leases=context.needs_follower,
        )

    def search(self, earlier: Sequence[Trial], interruption: Interruption) -> Searched:
        if not self._is_there():
            self.check()
        remote = self._remote()
        if not remote.apply(earlier):
            self._progress.say(f"reattached to {self._experiment.name} in the cluster")
        trials, state, said = remote.follow(interruption)
        ended = [self._kept(trial) for trial in trials if trial.state.is_final]
        for trial in ended:
            self._folder.record(trial)
        why = early_end(self._experiment, ended, said)
        return Searched(tuple(ended), why, state == "failed", remote.seconds())

    def run(self, jobs: Sequence[Job], interruption: Interruption) -> Sequence[JobOutput]:
        config, owner = self._config(), self._owner()
        names = {self._name(job): job for job in jobs}
        bodies = [
            work_job(
                self._experiment,
                config,
                name,
                [job.kind, *self._argv(job)],
                # Data may be prepared before there is an experiment that could own the job.
                owner=None if job.kind == "prepare" else owner,
            )
            for name, job in names.items()
        ]
        bodies = [self._marked(body) for body in bodies]

        def say(output: JobOutput) -> None:
            state = (output.answer or {}).get("state")
            if state is not None:
                self._progress.say(f"{output.name} {state}")

        parallel = self._experiment.budget.parallel
        outputs = self._jobs.run(bodies, parallel=parallel, interruption=interruption, ended=say)
        return [self._shown(replace(o, name=names[o.name].name)) for o in outputs]

    def previous(self, name: str) -> Sequence[Trial] | None:
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
        self._progress.say(f"learning from {last}")
        return [trial for trial in trials if trial.state.is_final]

    def check(self) -> None:
        """Check whether the cluster can run the experiment.

        Raises:
            BackendError: with all findings.
            ExperimentError: the experiment can run on no cluster.
        """
        manifest.manifests(self._experiment)
        lost = registry_fault(self._experiment, self._registry_uri())
        if lost is not None:
            raise ExperimentError(self._experiment.name, [lost])
        wrong = doctor.faults(doctor.examine(self._experiment, self._api))
        if wrong:
            listed = "".join(f"\n  - {line}" for line in wrong)
            raise BackendError(f"the cluster is not ready for this experiment:{listed}")

    def status(self) -> SearchResult | None:
        """Return the search as it is on the cluster now; None where there is none."""
        remote = self._remote()
        try:
            trials, state, said = remote.read()
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        name = self._experiment.name
        baseline = baseline_name(self._experiment, trials)
        return SearchResult(
            name, state, remote.seconds(), tuple(trials), reason=said or None, baseline=baseline
        )

    def stop(self, reason: str) -> bool:
        """Stop the experiment and the jobs around it; return whether any were running.

        Raises:
            ClusterError: the cluster refuses it.
        """
        stopped = self._jobs.stop()
        found = self.status()
        is_running = found is not None and found.state == "running"
        if is_running:
            self._remote().stop(reason)
            self._progress.say(f"stopping {self._experiment.name}: {reason}")
        return is_running or stopped > 0

    def _name(self, job: Job) -> str:
        """Return the name of a job on the cluster, which follows from what it does."""
        if job.kind == "train":
            return job.name
        cluster = self._experiment.cluster.model_dump_json()
        content = json.dumps([job.kind, self._argv(job), cluster])
        digest = hashlib.sha256(content.encode()).hexdigest()[:8]
        return f"{self._experiment.name}-{job.name}-{digest}"

    def _argv(self, job: Job) -> list[str]:
        places = JobPlaces(
            experiment=EXPERIMENT_MOUNT / EXPERIMENT_FILE,
            run=run_folder(self._experiment),
            out=TERMINATION_MESSAGE,
            datasets=DATASETS,
            storage=self._experiment.cluster.storage.uri,
            registry=self._registry_uri(),
            source=self._experiment.name,
            # The job that prepares is asked for the data as they are now.
            data=None if job.kind == "prepare" else self._folder.state().data_fingerprint,
        )
        return [*job.arguments, *places.argv()]

    def _shown(self, output: JobOutput) -> JobOutput:
        """Return an output in which the path of a model says that it is in the storage."""
        model = (output.answer or {}).get("model")
        if not isinstance(model, str) or not Path(model).is_relative_to(STORAGE_MOUNT):
            return output
        uri = self._experiment.cluster.storage.uri
        inside = Path(model).relative_to(STORAGE_MOUNT)
        place = f"{uri.rstrip('/')}/{inside}" if uri else f"storage:{model}"
        return replace(output, answer={**(output.answer or {}), "model": place})

    def _registry_uri(self) -> str:
        """Return the registry as a pod sees it: a folder is one in the storage."""
        section = self._experiment.register_
        found = self._context.registry or (section.registry if section else None) or str(REGISTRY)
        if "://" in found or Path(found).is_absolute():
            return found
        return str(STORAGE_MOUNT / found)

    def _config(self) -> str:
        """Return the name of the ConfigMap with the experiment, which is made if need be."""
        body = self._marked(manifest.config_map(self._experiment))
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
        """Return whether Katib has the experiment already, whatever else is wrong now.

        Where we may not look, the check that follows names every missing permission.
        """
        try:
            return self._owner() is not None
        except ClusterError as error:
            if error.status != FORBIDDEN:
                raise
            return False

    def _remote(self) -> RemoteExperiment:
        return RemoteExperiment(
            self._experiment,
            self._api,
            progress=self._progress,
            finished=lambda trial: self._folder.record(self._kept(trial)),
            bound=self._folder.use_data,
            needs_follower=self._context.needs_follower,
            mark=self._marked,
            notes={LOG_FORMAT_ANNOTATION: JSON} if self._context.log_format == JSON else {},
        )

    def _kept(self, trial: Trial) -> Trial:
        """Return a trial, or what the run folder has of it where its log is gone by now."""
        return status.or_recorded(trial, read_trial(self._folder.trials / trial.name))

    def _marked(self, body: Object) -> Object:
        """Return an object with the id of the run, where there is a run."""
        run_id = self._folder.state().run_id
        if run_id is None:
            return body
        variables = self._context.tracing.environment()
        if self._context.log_format == JSON:
            variables[LOG_FORMAT_VARIABLE] = JSON
        return marked(body, run_id, variables=variables)


def early_end(experiment: Experiment, trials: Sequence[Trial], said: str) -> str | None:
    """Return why a search ended before its last trial, as the local engine would say it."""
    failed = sum(trial.state is TrialState.FAILED for trial in trials)
    reason = experiment.budget.ended(failed=failed)
    if reason is not None:
        return reason
    if not trials and said:
        name, algorithm = experiment.name, algorithm_name(experiment)
        where = f"kubectl -n {experiment.cluster.namespace} logs deploy/{name}-{algorithm}"
        return f"Katib says: {said}; the reason is in `{where} --all-containers`"
    usual = ("max trial count", "max failed count")
    because = said.partition(" because ")[2]
    return None if not because or any(word in because for word in usual) else because
