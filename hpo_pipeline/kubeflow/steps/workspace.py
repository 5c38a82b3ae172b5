"""The run folder on its way from step to step, and the engine that a step works with.

A step takes the run folder of the step before, does its stage, and hands the folder on, without
models (models.py). With the engine katib, a step that is retried reattaches to what it had started
on the cluster. With the engine local, runs are kept in the folder that HPO_RUNS names if it is set,
on a volume that outlives the pods, and a step that is retried resumes there.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpo_pipeline.engines import Engine, RunContext, open_engine
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.kubernetes.api import Api
from hpo_pipeline.errors import BackendError, ClusterError, HpoError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.flow.stages import Flow
from hpo_pipeline.flow.tracing import traced
from hpo_pipeline.flow.tracking import tracked, trackers_in_pipeline
from hpo_pipeline.kubeflow.steps.models import KEPT_RUNS, ignored, take_models, without_models
from hpo_pipeline.reports.terminal import PlainLines
from hpo_pipeline.results.run_folder import RunFolder

FolderPath = Path | str
"""A path; Kubeflow Pipelines gives it as text."""


@dataclass(frozen=True)
class Step:
    """One step under way: its folder, and what works in it."""

    folder: RunFolder
    engine: Engine
    flow: Flow
    interruption: Interruption


@contextmanager
def taken_over(
    run: FolderPath,
    engine: str,
    out: FolderPath,
    *,
    dataset: FolderPath | None = None,
    models: Sequence[FolderPath] = (),
    provenance: dict[str, str] | None = None,
    api: Api | None = None,
) -> Iterator[Step]:
    """Take a run folder over from the step before, and hand it on to `out` at the end.

    Args:
        models: artifacts with the models of earlier steps.
    """
    experiment = RunFolder(Path(run)).experiment()
    folder = workplace(experiment, out)
    if not folder.experiment_file.exists():
        shutil.copytree(run, folder.path, dirs_exist_ok=True)
    take_models(map(Path, models), folder)
    with opened(
        experiment, engine, folder, dataset=dataset, provenance=provenance, api=api
    ) as found:
        yield found
    hand_on(folder, out)


@contextmanager
def opened(
    experiment: Experiment,
    engine: str,
    folder: RunFolder,
    *,
    dataset: FolderPath | None = None,
    provenance: dict[str, str] | None = None,
    notes: tuple[str, ...] = (),
    api: Api | None = None,
) -> Iterator[Step]:
    """Work in a run folder with an engine; `notes` are those on the baseline."""
    context = RunContext(
        experiment,
        folder,
        PlainLines(experiment, sys.stdout),
        source=folder.experiment_file,
        dataset=Path(dataset) if dataset else None,
        cluster=api,
        baseline_notes=notes,
        needs_follower=True,  # the pipeline may be terminated without any chance to clean up
    )
    with folder.locked(), Interruption().installed() as interruption:
        folder.adopt(experiment)
        # The name is one of its own for each run of the pipeline, and the same in all its steps.
        folder.run_id(uuid.uuid5(uuid.NAMESPACE_URL, f"hpo-pipeline:{experiment.name}").hex)
        if folder.state().state is None:
            folder.update(state="running", reason=None)
        trackers = trackers_in_pipeline(context, os.environ)
        try:
            with (
                traced(context, "step", engine) as with_spans,
                tracked(with_spans, trackers) as shown,
                open_engine(engine, shown) as found,
            ):
                flow = Flow(shown, found, provenance=provenance)
                yield Step(folder, found, flow, interruption)
        except ClusterError as error:
            raise explained(error) from error


def workplace(experiment: Experiment, out: FolderPath) -> RunFolder:
    """Return the folder to work in: on the volume of HPO_RUNS if it is set, else `out`."""
    kept = os.environ.get(KEPT_RUNS)
    return RunFolder(Path(kept) / experiment.name if kept else Path(out))


def hand_on(folder: RunFolder, out: FolderPath) -> None:
    """Leave a run folder in `out`, without models, for the next step."""
    if folder.path == Path(out).absolute():
        without_models(folder)
    else:
        shutil.copytree(folder.path, out, dirs_exist_ok=True, ignore=ignored)


def explained(error: ClusterError) -> HpoError:
    """Say what to do if the pod's service account lacks a permission."""
    if error.status != 403:
        return error
    return BackendError(
        f"{error}; bind the Role hpo-runner of manifests/base to the service account that runs "
        f"the steps of the pipeline"
    )
