"""The steps: each takes texts and paths, does one stage of the run, and returns what it found."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.katib.engine import KatibEngine
from hpo_pipeline.engines.kubernetes.api import Api, KubernetesApi
from hpo_pipeline.engines.local import hardware
from hpo_pipeline.errors import BackendError, ExperimentError
from hpo_pipeline.experiment.cluster import changes_from
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.jobs.commands import prepare_job
from hpo_pipeline.kubeflow.steps.experiment_text import as_text, named, read_text, with_changes
from hpo_pipeline.kubeflow.steps.workspace import FolderPath, hand_on, opened, taken_over, workplace
from hpo_pipeline.report import markdown
from hpo_pipeline.report.terminal import PlainLines
from hpo_pipeline.results.outcome import GateResult, RegistrationResult, SearchResult
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import TrialState

REASONS = 5


def prepare(text: str, engine: str, out: FolderPath, *, api: Api | None = None) -> dict[str, Any]:
    """Prepare the data: in `out` with the engine local, in the storage with katib.

    Returns:
        what they are: fingerprint, source, rows, labels, and where.

    Raises:
        ExperimentError, DataError: the experiment or its data are wrong.
    """
    experiment, out = read_text(text), Path(out)
    with (
        tempfile.TemporaryDirectory() as scratch,
        opened(experiment, engine, RunFolder(Path(scratch) / "run"), api=api) as step,
    ):
        (output,) = step.engine.run([prepare_job()], step.interruption)
        found = output.result()
        place = Path(found["dataset"])
        if place.is_dir():  # on the disk of this step; a cluster keeps it in its storage
            shutil.copytree(place, out, dirs_exist_ok=True)
            return {**found, "dataset": str(out)}
        out.mkdir(parents=True, exist_ok=True)
        (out / "where.txt").write_text(f"{place}\n", "utf-8")
        return found


def search(
    text: str,
    engine: str,
    out: FolderPath,
    *,
    dataset: FolderPath | None = None,
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
    experiment, seen = read_text(text), len(hardware.gpus())
    if seen < gpus:
        raise BackendError(f"this step asked for {gpus} GPUs, and its pod sees {seen}")
    if pods:
        cluster = _merged(experiment, changes_from(pods))
        experiment = with_changes(as_text(experiment), {"cluster": cluster})
    folder = workplace(experiment, out)
    with opened(experiment, engine, folder, dataset=dataset, api=api) as step:
        step.flow.search(step.interruption)
    result = folder.result()
    hand_on(folder, out)
    _raise_if_failed(experiment, folder, result)
    return markdown.figures(experiment, result)


def confirm(
    run: FolderPath,
    engine: str,
    out: FolderPath,
    *,
    dataset: FolderPath | None = None,
    api: Api | None = None,
) -> None:
    """Train the best configurations again with other seeds, where the experiment asks for it."""
    with taken_over(run, engine, out, dataset=dataset, api=api) as step:
        step.flow.confirm(step.interruption)


def select(run: FolderPath, engine: str, out: FolderPath, *, api: Api | None = None) -> str:
    """Choose the winner; return the name of its trial.

    Raises:
        BackendError: there is none.
    """
    with taken_over(run, engine, out, api=api) as step:
        chosen = step.flow.select()
        if chosen is None:
            raise BackendError(step.folder.state().reason or "there is no winner")
        return chosen.trial


def gate(
    run: FolderPath,
    engine: str,
    out: FolderPath,
    *,
    dataset: FolderPath | None = None,
    api: Api | None = None,
) -> GateResult:
    """Measure winner and champion on the test rows, and decide between them."""
    with taken_over(run, engine, out, dataset=dataset, api=api) as step:
        return step.flow.gate(step.interruption)


def register(
    run: FolderPath,
    engine: str,
    out: FolderPath,
    *,
    dataset: FolderPath | None = None,
    run_id: str = "",
    api: Api | None = None,
) -> RegistrationResult | None:
    """Register the winner; None where the experiment does not ask for it."""
    known = {"run": run_id} if run_id else {}
    with taken_over(run, engine, out, dataset=dataset, provenance=known, api=api) as step:
        wants = step.folder.experiment().register_ is not None
        found = step.flow.register(step.interruption) if wants else None
        step.flow.finish()
        return found


def wind_up(
    text: str,
    engine: str,
    run_id: str,
    *,
    status: str,
    leaderboard: FolderPath,
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
        experiment = read_text(text, overrides)
    except ExperimentError as error:
        leaderboard.write_text(f"Nothing was started: {error}\n", "utf-8")
        return False
    here = named(experiment, run_id)
    cluster = api or KubernetesApi()
    with tempfile.TemporaryDirectory() as scratch:
        progress = PlainLines(here, sys.stdout)
        folder = RunFolder(Path(scratch) / "run")
        katib = KatibEngine(RunContext(here, folder, progress, cluster=cluster))
        was_running = katib.stop("the run of the pipeline has ended")
        found = katib.status()
        if found is not None:
            leaderboard.write_text(markdown.markdown(here, found), "utf-8")
    return was_running


def _raise_if_failed(experiment: Experiment, folder: RunFolder, result: SearchResult) -> None:
    failed = [trial for trial in result.trials if trial.state is TrialState.FAILED]
    is_over = len(failed) > experiment.budget.max_failed
    if not is_over and not folder.state().search_failed and result.trials != tuple(failed):
        return
    why = folder.state().ended or result.reason or "no trial gave a result"
    reasons = dict.fromkeys(f"{trial.name}: {trial.reason}" for trial in failed)
    listed = "".join(f"\n  - {line}" for line in list(reasons)[:REASONS])
    more = f"\n  and {len(reasons) - REASONS} more" if len(reasons) > REASONS else ""
    raise BackendError(f"{experiment.name} failed: {why}{listed}{more}")


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
