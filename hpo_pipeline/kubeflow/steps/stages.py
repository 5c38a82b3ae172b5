"""The steps: each takes texts and paths, does one stage of the run, and returns its findings."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.engines import RunContext
from hpo_pipeline.engines.katib.engine import KatibEngine
from hpo_pipeline.engines.katib.follow_mark import ABANDONED
from hpo_pipeline.engines.kubernetes.api import Api, KubernetesApi
from hpo_pipeline.engines.local import hardware
from hpo_pipeline.errors import BackendError, ClusterError, ExperimentError
from hpo_pipeline.experiment.cluster import changes_from
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.jobs.baseline import resolved
from hpo_pipeline.jobs.commands import prepare_job
from hpo_pipeline.kubeflow.steps.experiment_text import as_text, named, read_text, with_changes
from hpo_pipeline.kubeflow.steps.models import KEPT_RUNS, hand_over_models
from hpo_pipeline.kubeflow.steps.workspace import (
    FolderPath,
    explained,
    hand_on,
    opened,
    taken_over,
    workplace,
)
from hpo_pipeline.reports import markdown
from hpo_pipeline.reports.terminal import PlainLines
from hpo_pipeline.results.outcome import GateResult, RegistrationResult, SearchResult
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import TrialState

REASONS = 5
RUN_ENDED = "the run of the pipeline has ended"
SUCCEEDED = "The run has succeeded; its results are in the step report.\n"
FAILED = (
    "The run has failed or was terminated. The log of the first step that failed says why; "
    "steps that had ended before it keep their results.\n"
)


def prepare(text: str, engine: str, out: FolderPath, *, api: Api | None = None) -> dict[str, Any]:
    """Prepare the data: in `out` with the engine local, in the storage with katib.

    Returns:
        what they are: fingerprint, source, rows, labels; with katib also where in the storage.

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
            return {name: value for name, value in found.items() if name != "dataset"}
        out.mkdir(parents=True, exist_ok=True)
        (out / "where.txt").write_text(f"{place}\n", "utf-8")
        return found


def search(
    text: str,
    engine: str,
    out: FolderPath,
    *,
    dataset: FolderPath | None = None,
    models: FolderPath | None = None,
    pods: Mapping[str, Any] | None = None,
    gpus: int = 0,
    api: Api | None = None,
) -> dict[str, float]:
    """Search, and leave the run folder in `out`; return its numbers.

    Args:
        models: gets the models of a search that trains in this step.
        pods: what is set on the step and so holds for the pods of its trials on Katib, as
            Kubernetes spells it (see `changes_from`).
        gpus: with the engine local, how many GPUs the step has asked for.

    Raises:
        BackendError: no trial gave a usable result, with the reasons of the trials; the search was
            cut off when the run was terminated or lost, and this is a retry; or the step has GPUs
            that it cannot use, or lacks those that it needs.
    """
    experiment = read_text(text)
    if engine == "katib":
        experiment = _with_pods(experiment, pods or {})
    elif (seen := len(hardware.gpus())) < gpus:
        raise BackendError(f"this step asked for {gpus} GPUs, but its pod sees {seen}")
    experiment, baseline = resolved(experiment)
    folder = workplace(experiment, out)
    with opened(experiment, engine, folder, dataset=dataset, notes=baseline.notes, api=api) as step:
        step.flow.search(step.interruption)
    result = folder.result()
    _raise_if_cut_off(experiment, folder.state().ended or "", len(result.trials))
    _raise_if_failed(experiment, folder, result)
    _hand_over(folder, engine, models)
    hand_on(folder, out)
    return markdown.figures(experiment, result)


def confirm(
    run: FolderPath,
    engine: str,
    out: FolderPath,
    *,
    dataset: FolderPath | None = None,
    models: FolderPath | None = None,
    api: Api | None = None,
) -> None:
    """Train the best configurations again with other seeds, if the experiment says so.

    Args:
        models: gets the models of these trainings if they ran in this step.
    """
    with taken_over(run, engine, out, dataset=dataset, api=api) as step:
        step.flow.confirm(step.interruption)
        _hand_over(step.folder, engine, models)


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
    earlier: Sequence[FolderPath] = (),
    models: FolderPath | None = None,
    api: Api | None = None,
) -> GateResult:
    """Measure winner and champion on the test rows, and decide between them.

    Args:
        earlier: the artifacts with the models of `search` and `confirm`.
        models: gets the winner's model if it was not kept and had to be trained again.
    """
    with taken_over(run, engine, out, dataset=dataset, models=earlier, api=api) as step:
        found = step.flow.gate(step.interruption)
        _hand_over(step.folder, engine, models)
        return found


def register(
    run: FolderPath,
    engine: str,
    out: FolderPath,
    *,
    dataset: FolderPath | None = None,
    earlier: Sequence[FolderPath] = (),
    run_id: str = "",
    api: Api | None = None,
) -> RegistrationResult | None:
    """Register the winner; None if the experiment has no section register.

    Args:
        earlier: the artifacts with the models of `search`, `confirm` and `gate`.
    """
    known = {"run": run_id} if run_id else {}
    with taken_over(
        run, engine, out, dataset=dataset, models=earlier, provenance=known, api=api
    ) as step:
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
    """Stop what a run has left running, and write what the cluster knows of the run.

    It is called however the run has ended, even with a wrong experiment.

    Args:
        status: the state that the pipeline gives; reliable only if it is SUCCEEDED.

    Returns:
        whether anything was still running.

    Raises:
        BackendError: the cluster refuses it.
    """
    leaderboard = Path(leaderboard)
    leaderboard.parent.mkdir(parents=True, exist_ok=True)
    said = SUCCEEDED if status == "SUCCEEDED" else FAILED
    leaderboard.write_text(said, "utf-8")
    if engine != "katib":
        return False  # its trials ended with the steps
    try:
        here = named(read_text(text, overrides), run_id)
    except ExperimentError as error:
        leaderboard.write_text(f"Nothing was started: {error}\n", "utf-8")
        return False
    try:
        was_running, found = _stopped(here, api)
    except ClusterError as error:
        raise explained(error) from error
    if found is not None:
        leaderboard.write_text(markdown.markdown(here, found), "utf-8")
    return was_running


def _stopped(experiment: Experiment, api: Api | None) -> tuple[bool, SearchResult | None]:
    with tempfile.TemporaryDirectory() as scratch:
        folder, progress = RunFolder(Path(scratch) / "run"), PlainLines(experiment, sys.stdout)
        context = RunContext(experiment, folder, progress, cluster=api or KubernetesApi())
        katib = KatibEngine(context)
        was_running = katib.stop(RUN_ENDED)
        return was_running, katib.status()


def _hand_over(folder: RunFolder, engine: str, models: FolderPath | None) -> None:
    if models is not None:
        local = "no model was trained or kept here"
        where = "in the storage of the cluster" if engine == "katib" else local
        kept = os.environ.get(KEPT_RUNS)
        hand_over_models(folder, Path(models), where=f"in {folder.path}" if kept else where)


def _with_pods(experiment: Experiment, pods: Mapping[str, Any]) -> Experiment:
    """Return the experiment with what is set on the step `search` for its trials on Katib."""
    changes = changes_from(pods)
    gpus = changes.pop("gpus", 0)
    changes.pop("gpu_resource", None)
    if gpus:
        raise BackendError(
            f"the step search has {gpus} GPUs, which its trials on Katib would wait for while the "
            f"step holds them: set none on the step, and cluster.gpus: {gpus} in the experiment"
        )
    if not changes:
        return experiment
    return with_changes(as_text(experiment), {"cluster": _merged(experiment, changes)})


def _raise_if_cut_off(experiment: Experiment, why: str, trials: int) -> None:
    """Fail a search that was ended with its run: Katib cannot resume an ended experiment.

    Its trials were stopped wherever they were; the winner among them must not be registered.
    """
    if RUN_ENDED not in why and ABANDONED not in why:
        return
    raise BackendError(
        f"{experiment.name}: the search was cut off after {trials} of {experiment.budget.trials} "
        f"trials ({why}), and a retry cannot resume it: start a new run of the pipeline; with "
        f"search.warm_start it learns from the trials that had ended"
    )


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
    """Return the entries of `cluster` that change: lists and mappings grow, others are set."""
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
