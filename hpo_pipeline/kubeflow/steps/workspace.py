"""The run folder on its way from step to step, and the engine that a step works with.

A step takes the folder of the one before, does its stage, and hands it on. With the engine katib
it holds results only, and a step that is run again adopts what it had started on the cluster. With
the engine local, where HPO_RUNS names a folder that outlives the pods, the runs are kept there, and
a step that is run again goes on.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpo_pipeline.engines import Engine, RunContext, open_engine
from hpo_pipeline.engines.interruption import Interruption
from hpo_pipeline.engines.kubernetes.api import Api
from hpo_pipeline.errors import BackendError, ClusterError, HpoError
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.report.terminal import PlainLines
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.run.flow import Flow

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
    provenance: dict[str, str] | None = None,
    api: Api | None = None,
) -> Iterator[Step]:
    """Take a run folder over from the step before, and hand it on to `out` at the end."""
    experiment = RunFolder(Path(run)).experiment()
    folder = workplace(experiment, out)
    if not folder.experiment_file.exists():
        shutil.copytree(run, folder.path, dirs_exist_ok=True)
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
    api: Api | None = None,
) -> Iterator[Step]:
    """Work in a run folder with an engine."""
    context = RunContext(
        experiment,
        folder,
        PlainLines(experiment, sys.stdout),
        source=folder.experiment_file,
        dataset=Path(dataset) if dataset else None,
        cluster=api,
    )
    with folder.locked(), Interruption().installed() as interruption:
        folder.adopt(experiment)
        if folder.state().state is None:
            folder.update(state="running", reason=None)
        try:
            with open_engine(engine, context) as found:
                flow = Flow(context, found, provenance=provenance)
                yield Step(folder, found, flow, interruption)
        except ClusterError as error:
            raise explained(error) from error


def workplace(experiment: Experiment, out: FolderPath) -> RunFolder:
    """Return the folder to work in: one that outlives the pod, where there is such a place."""
    kept = os.environ.get("HPO_RUNS")
    return RunFolder(Path(kept) / experiment.name if kept else Path(out))


def hand_on(folder: RunFolder, out: FolderPath) -> None:
    """Copy a run folder to where the next step takes it from."""
    if folder.path != Path(out).absolute():
        shutil.copytree(folder.path, out, dirs_exist_ok=True)


def explained(error: ClusterError) -> HpoError:
    """Say what to do about a permission that the pod's service account lacks."""
    if error.status != 403:
        return error
    return BackendError(
        f"{error}; bind the Role hpo-runner of manifests/base to the service account that runs "
        f"the steps of the pipeline"
    )
