"""The stages of a run as steps of a pipeline, each in a pod of its own whose disk is then lost.

What goes from step to step is the run folder: a step takes that of the one before, does its
stage, and hands it on. With the engine katib it holds results only, and a step that is run again
adopts what it had started on the cluster. With the engine local, where HPO_RUNS names a folder
that outlives the pods, the runs are kept there, and a step that is run again goes on.

Nothing here knows Kubeflow: the components of `pipelines/` import and call.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hpo_pipeline import summary
from hpo_pipeline.backends import machine
from hpo_pipeline.backends.cluster_site import ClusterSite
from hpo_pipeline.backends.interruption import Interruption
from hpo_pipeline.backends.local_site import LocalSite
from hpo_pipeline.cluster import changes_from
from hpo_pipeline.conclusion import Gated, Registered
from hpo_pipeline.consistency import local_faults
from hpo_pipeline.errors import BackendError, ClusterError, ExperimentError, HpoError
from hpo_pipeline.experiment import Experiment
from hpo_pipeline.experiment_file import load
from hpo_pipeline.flow import Flow
from hpo_pipeline.katib.api import Api, Cluster
from hpo_pipeline.katib.manifest import cluster_faults
from hpo_pipeline.progress import PlainLines
from hpo_pipeline.results import SearchResult, TrialState
from hpo_pipeline.run_folder import RunFolder

ENGINES = ("katib", "local")
MAX_NAME = 40
MAX_PBT_NAME = 26
REASONS = 5

Place = Path | str
"""A path; Kubeflow Pipelines gives it as text."""

OVERRIDES = {
    "trials": ("budget", "trials"),
    "parallel": ("budget", "parallel"),
    "minutes": ("budget", "minutes"),
    "namespace": ("cluster", "namespace"),
    "trial_image": ("cluster", "image"),
    "registry": ("register", "registry"),
    "data_version": ("task", "data_version"),
}
"""What a run may replace in its experiment: by parameter, the section and its entry."""


class Checked(NamedTuple):
    """A right experiment as texts: with the name of this run, and what decides its data alone."""

    experiment: str
    data: str


def overriding(given: Mapping[str, object]) -> dict[str, object]:
    """Return those of a step's parameters that replace entries of the experiment."""
    return {name: given[name] for name in OVERRIDES if name in given}


def check(text: str, engine: str, run_id: str, **overrides: object) -> Checked:
    """Check the text of an experiment, with all faults at once, and name this run of it.

    Args:
        run_id: the same for all steps of a run and for those that are repeated.
        overrides: see `OVERRIDES`; what is 0 or empty stays as the text has it.

    Raises:
        ExperimentError: it is wrong, or this engine cannot run it.
    """
    experiment = _read(text, overrides)
    faults = [] if engine in ENGINES else [f"engine: must be one of {', '.join(ENGINES)}"]
    faults += cluster_faults(experiment) if engine == "katib" else local_faults(experiment)
    faults += _registry_faults(experiment) if engine == "local" else []
    if faults:
        raise ExperimentError(experiment.name, faults)
    named = experiment.model_copy(update={"name": run_name(experiment, run_id)})
    content = experiment.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    kept = ("name", "task", "objective", "space", "cluster")
    data = {**{key: content[key] for key in kept if key in content}, "budget": {"trials": 1}}
    return Checked(_text(named), yaml.safe_dump(data, sort_keys=False))


def run_name(experiment: Experiment, run_id: str) -> str:
    """Return the name of an experiment in one run of a pipeline: short enough for Katib."""
    longest = MAX_PBT_NAME if experiment.search.algorithm == "pbt" else MAX_NAME
    mark = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{experiment.name[: longest - 9].rstrip('-')}-{mark}"


def prepare(text: str, engine: str, out: Place, *, api: Api | None = None) -> dict[str, Any]:
    """Prepare the data: in `out` with the engine local, in the storage with katib.

    Returns:
        what they are: fingerprint, source, rows, labels, and where.

    Raises:
        ExperimentError, DataError: the experiment or its data are wrong.
    """
    experiment, out = _read(text), Path(out)
    with (
        tempfile.TemporaryDirectory() as scratch,
        _opened(experiment, engine, RunFolder(Path(scratch) / "run"), api=api) as run,
    ):
        if isinstance(run.site, ClusterSite):
            found = run.site.prepare(run.interruption)
            out.mkdir(parents=True, exist_ok=True)
            (out / "where.txt").write_text(found["dataset"] + "\n", "utf-8")
            return found
        found = run.site.prepare(Path(scratch) / "datasets")
        shutil.copytree(found["dataset"], out, dirs_exist_ok=True)
        return {**found, "dataset": str(out)}


def search(
    text: str,
    engine: str,
    out: Place,
    *,
    dataset: Place | None = None,
    pods: Mapping[str, Any] | None = None,
    gpus: int = 0,
    api: Api | None = None,
) -> dict[str, float]:
    """Search, and leave the run folder in `out`; return its numbers.

    Args:
        pods: parts of the trials' pods in the words of Kubernetes, beside the section cluster
            (see `changes_from`).
        gpus: with the engine local, how many GPUs the step has asked for.

    Raises:
        BackendError: it gave nothing usable, with the reasons of the trials.
    """
    experiment, seen = _read(text), len(machine.gpus())
    if seen < gpus:
        raise BackendError(f"this step asked for {gpus} GPUs, and its pod sees {seen}")
    if pods:
        cluster = _merged(experiment, changes_from(pods))
        experiment = _loaded(_text(experiment), {"cluster": cluster})
    folder = _workplace(experiment, out)
    with _opened(experiment, engine, folder, dataset=dataset, api=api) as run:
        run.flow.search(run.interruption)
    result = folder.result()
    _hand_on(folder, out)
    _raise_if_failed(experiment, folder, result)
    return summary.figures(experiment, result)


def confirm(
    run: Place, engine: str, out: Place, *, dataset: Place | None = None, api: Api | None = None
) -> None:
    """Train the best configurations again with other seeds, where the experiment asks for it."""
    with _stage(run, engine, out, dataset=dataset, api=api) as stage:
        stage.flow.confirm(stage.interruption)


def select(run: Place, engine: str, out: Place, *, api: Api | None = None) -> str:
    """Choose the winner; return the name of its trial.

    Raises:
        BackendError: there is none.
    """
    with _stage(run, engine, out, api=api) as stage:
        chosen = stage.flow.select()
        if chosen is None:
            raise BackendError(stage.folder.state()["reason"])
        return chosen.trial


def gate(
    run: Place, engine: str, out: Place, *, dataset: Place | None = None, api: Api | None = None
) -> Gated:
    """Measure winner and champion on the test rows, and decide between them."""
    with _stage(run, engine, out, dataset=dataset, api=api) as stage:
        return stage.flow.gate(stage.interruption)


def register(
    run: Place,
    engine: str,
    out: Place,
    *,
    dataset: Place | None = None,
    run_id: str = "",
    api: Api | None = None,
) -> Registered | None:
    """Register the winner; None where the experiment does not ask for it."""
    known = {"run": run_id} if run_id else {}
    with _stage(run, engine, out, dataset=dataset, provenance=known, api=api) as stage:
        wants = stage.folder.experiment().register_ is not None
        found = stage.flow.register(stage.interruption) if wants else None
        stage.flow.finish()
        return found


def report(run: Place, html: Place, markdown: Place) -> dict[str, float]:
    """Write the report and the leaderboard of a run folder; return the numbers of the run."""
    from hpo_pipeline.report import write_report

    folder, html, markdown = RunFolder(Path(run)), Path(html), Path(markdown)
    experiment, result = folder.experiment(), folder.result()
    for file in (html, markdown):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_report(experiment, result, html, run_info=folder.info())
    markdown.write_text(summary.markdown(experiment, result, folder.state()), "utf-8")
    return summary.figures(experiment, result)


def wind_up(
    text: str,
    engine: str,
    run_id: str,
    *,
    status: str,
    leaderboard: Place,
    api: Api | None = None,
    **overrides: object,
) -> bool:
    """End what a run has left running, and write what is known of it where it has failed.

    It is called however the run has ended, and so takes a wrong experiment as it is.

    Args:
        status: how it has ended, in the words of the pipeline.

    Returns:
        whether something was still running.
    """
    leaderboard = Path(leaderboard)
    leaderboard.parent.mkdir(parents=True, exist_ok=True)
    leaderboard.write_text(f"The run has ended: {status}\n", "utf-8")
    if engine != "katib":
        return False
    try:
        experiment = _read(text, overrides)
    except ExperimentError as error:
        leaderboard.write_text(f"Nothing was started: {error}\n", "utf-8")
        return False
    named = experiment.model_copy(update={"name": run_name(experiment, run_id)})
    cluster = api or Cluster()
    with tempfile.TemporaryDirectory() as scratch:
        progress = PlainLines(named, sys.stdout)
        site = ClusterSite(named, RunFolder(Path(scratch) / "run"), cluster, progress=progress)
        was_running = site.stop("the run of the pipeline has ended")
        found = site.standing()
        if found is not None:
            leaderboard.write_text(summary.markdown(named, found, {}), "utf-8")
    return was_running


def shown_gate(found: Gated, test: Any, confusion: Any) -> tuple[bool, str]:
    """Put the measurements of the gate on the page of its step; return what it says.

    Args:
        test: the step's Metrics of Kubeflow Pipelines.
        confusion: its ClassificationMetrics.
    """
    test.metadata.update(found.evaluation.metrics)
    if found.evaluation.confusion:
        rows = [list(row) for row in found.evaluation.confusion]
        confusion.log_confusion_matrix(list(found.evaluation.labels), rows)
    return found.promote, found.reason


def shown_model(found: Registered | None, run: Place, model: Any) -> str:
    """Make the step's Model of Kubeflow Pipelines the registered one; return its name."""
    folder = RunFolder(Path(run))
    state = folder.state()
    model.metadata.update(framework="transformers", run=folder.experiment().name)
    if found is None:
        model.metadata["model"] = state["winner"]["model"]
        return ""
    model.uri = found.uri
    model.metadata.update(
        name=found.model, version=found.version, champion=found.is_champion, reason=found.reason
    )
    return found.title


@dataclass(frozen=True)
class _Stage:
    """One stage under way."""

    folder: RunFolder
    site: LocalSite | ClusterSite
    flow: Flow
    interruption: Interruption


@contextmanager
def _stage(
    run: Place,
    engine: str,
    out: Place,
    *,
    dataset: Place | None = None,
    provenance: dict[str, str] | None = None,
    api: Api | None = None,
) -> Iterator[_Stage]:
    """Take a run folder over, and hand it on to `out` when its stage is done."""
    experiment = RunFolder(Path(run)).experiment()
    folder = _workplace(experiment, out)
    if not folder.experiment_file.exists():
        shutil.copytree(run, folder.path, dirs_exist_ok=True)
    with _opened(
        experiment, engine, folder, dataset=dataset, provenance=provenance, api=api
    ) as found:
        yield found
    _hand_on(folder, out)


@contextmanager
def _opened(
    experiment: Experiment,
    engine: str,
    folder: RunFolder,
    *,
    dataset: Place | None = None,
    provenance: dict[str, str] | None = None,
    api: Api | None = None,
) -> Iterator[_Stage]:
    progress = PlainLines(experiment, sys.stdout)
    with folder.locked(), Interruption().installed() as interruption:
        folder.adopt(experiment)
        if "state" not in folder.state():
            folder.write_state(state="running", reason=None)
        site: LocalSite | ClusterSite
        if engine == "katib":
            site = ClusterSite(experiment, folder, api or Cluster(), progress=progress)
        else:
            source = folder.experiment_file
            given = Path(dataset) if dataset else None
            site = LocalSite(experiment, folder, source=source, progress=progress, dataset=given)
        flow = Flow(experiment, folder, site, progress=progress, provenance=provenance)
        try:
            yield _Stage(folder, site, flow, interruption)
        except ClusterError as error:
            raise _explained(error) from error
        finally:
            if isinstance(site, LocalSite):
                site.close()


def _workplace(experiment: Experiment, out: Place) -> RunFolder:
    kept = os.environ.get("HPO_RUNS")
    return RunFolder(Path(kept) / experiment.name if kept else Path(out))


def _hand_on(folder: RunFolder, out: Place) -> None:
    if folder.path != Path(out).absolute():
        shutil.copytree(folder.path, out, dirs_exist_ok=True)


def _raise_if_failed(experiment: Experiment, folder: RunFolder, result: SearchResult) -> None:
    failed = [trial for trial in result.trials if trial.state is TrialState.FAILED]
    is_over = len(failed) > experiment.budget.max_failed
    if not is_over and not folder.state().get("search_failed") and result.trials != tuple(failed):
        return
    why = folder.state().get("ended") or result.reason or "no trial gave a result"
    reasons = dict.fromkeys(f"{trial.name}: {trial.reason}" for trial in failed)
    listed = "".join(f"\n  - {line}" for line in list(reasons)[:REASONS])
    more = f"\n  and {len(reasons) - REASONS} more" if len(reasons) > REASONS else ""
    raise BackendError(f"{experiment.name} failed: {why}{listed}{more}")


def _explained(error: ClusterError) -> HpoError:
    """Say what to do about a permission that the pod's service account lacks."""
    if error.status != 403:
        return error
    return BackendError(
        f"{error}; bind the Role hpo-runner of manifests/base to the service account that runs "
        f"the steps of the pipeline"
    )


def _read(text: str, overrides: Mapping[str, object] | None = None) -> Experiment:
    changes: dict[str, dict[str, object]] = {}
    for name, value in (overrides or {}).items():
        section, entry = OVERRIDES[name]
        if value:
            changes.setdefault(section, {})[entry] = value
    return _loaded(text, changes)


def _loaded(text: str, changes: Mapping[str, Mapping[str, object]]) -> Experiment:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "experiment.yaml"
        file.write_text(text, "utf-8")
        try:
            return load(file, **changes)
        except ExperimentError as error:
            raise ExperimentError("the experiment", error.faults) from error


def _text(experiment: Experiment) -> str:
    content = experiment.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(content, sort_keys=False)


def _merged(experiment: Experiment, pods: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of `cluster` that change: lists and mappings grow, others are replaced."""
    own = experiment.cluster.model_dump(mode="json", exclude_none=True)
    found: dict[str, Any] = {}
    for name, value in pods.items():
        if isinstance(value, dict):
            found[name] = {**own[name], **value}
        elif isinstance(value, list):
            found[name] = [*own[name], *value]
        else:
            found[name] = value
    return found


def _registry_faults(experiment: Experiment) -> list[str]:
    """Return what is wrong with a registry in a folder: the disk of a step is lost with its pod."""
    section = experiment.register_
    found = os.environ.get("HPO_REGISTRY") or (section.registry if section else "/")
    if section is None or (found and (re.match(r"\w+://", found) or Path(found).is_absolute())):
        return []
    return [
        f"register.registry: with the engine local it must be a service (mlflow://…, "
        f"kubeflow://…) or an absolute path on a volume of the step, got {found or 'nothing'}"
    ]
