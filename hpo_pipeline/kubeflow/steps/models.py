"""The models of steps that train, on their way to the steps that measure and register one.

With the engine local, models are on the disk of a step, which is lost with its pod. They leave it
once, as an artifact of their own; the run folder that goes from step to step has none. With Katib
models stay in the storage of the cluster, and with HPO_RUNS on its volume: the artifact then says
where.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hpo_pipeline.results.files import CHECKPOINT_FOLDER, MODEL_FOLDER
from hpo_pipeline.results.run_folder import RunFolder

KEPT_RUNS = "HPO_RUNS"
ABOUT = "about.json"
"""In every artifact of models: Kubeflow Pipelines fails a step that leaves an artifact empty."""
MODEL_STEPS = ("search", "confirm", "gate")
"""The steps that may train, and so have an artifact of models."""
_HEAVY = (MODEL_FOLDER, CHECKPOINT_FOLDER)
_OWN = ("lock", "server.log")


def hand_over_models(folder: RunFolder, out: Path, *, where: str) -> None:
    """Move the models of a run folder to the artifact `out`.

    Args:
        where: where models are that are not in the run folder, for people.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = []
    for model in () if os.environ.get(KEPT_RUNS) else _models_below(folder.path):
        place = model.relative_to(folder.path)
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(model, out / place)
        names.append(str(place))
    about = {"models": names, "where": "this artifact" if names else where}
    (out / ABOUT).write_text(json.dumps(about, indent=2) + "\n", "utf-8")


def take_models(artifacts: Iterable[Path], folder: RunFolder) -> None:
    """Make the models of earlier steps part of a run folder again, by links.

    The winner's model is copied to the place where the gate had put it, so that what was measured
    there counts.
    """
    for artifact in artifacts:
        for model in _models_below(artifact):
            link = folder.path / model.relative_to(artifact)
            if not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(model.absolute(), target_is_directory=True)
    selected = folder.state().selected
    if selected is None or folder.model.exists() or not folder.conclusion.exists():
        return
    runs = folder.confirmation if selected.is_rerun else folder
    source = runs.trial(selected.run) / MODEL_FOLDER
    if source.is_dir():
        shutil.copytree(source, folder.model)


def place_of_winner(artifacts: Sequence[Path], folder: RunFolder) -> str | None:
    """Return where the winner's model is in the artifacts of earlier steps, for people.

    Args:
        artifacts: those of `MODEL_STEPS`, in this order.
    """
    selected = folder.state().selected
    if selected is None:
        return None
    runs = folder.confirmation if selected.is_rerun else folder
    place = (runs.trial(selected.run) / MODEL_FOLDER).relative_to(folder.path)
    for step, artifact in zip(MODEL_STEPS, artifacts, strict=False):
        if (artifact / place).is_dir():
            return f"{place} in the artifact models of the step {step}"
    return None


def without_models(folder: RunFolder) -> None:
    """Remove models and checkpoints, links among them, from a run folder that is handed on."""
    for place in [folder.path, *(run for runs in _runs_of(folder.path) for run in runs.iterdir())]:
        for name in _HEAVY:
            if (place / name).is_symlink():
                (place / name).unlink()
            else:
                shutil.rmtree(place / name, ignore_errors=True)
    for name in _OWN:
        (folder.path / name).unlink(missing_ok=True)


def ignored(folder: str, names: list[str]) -> list[str]:
    """Return what `shutil.copytree` leaves out of a run folder that is handed on."""
    return [name for name in names if name in (*_HEAVY, *_OWN)]


def _models_below(root: Path) -> Iterator[Path]:
    for runs in _runs_of(root):
        found = (run / MODEL_FOLDER for run in sorted(runs.iterdir()))
        yield from [model for model in found if model.is_dir() and not model.is_symlink()]


def _runs_of(root: Path) -> list[Path]:
    """Return the folders with the trials of the search and of the confirmation."""
    paths = RunFolder(root)
    return [runs for runs in (paths.trials, paths.confirmation.trials) if runs.is_dir()]
