"""The user's own code that trials on a cluster import: only their image can have it."""

from __future__ import annotations

from pathlib import Path

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.tasks.user_metrics import shown


def own_code(experiment: Experiment) -> list[str]:
    """Return the user's modules and the script that trials need: `mine`, `train.py`."""
    task = experiment.task
    targets = [*task.metrics.values()]
    for name in ("trainer", "measure", "evaluate"):
        targets.append(getattr(task.settings, name, None) or "")
    modules = [shown(target).partition(":")[0] for target in targets if target]
    script = getattr(task.settings, "script", None)
    return list(dict.fromkeys([*modules, *([Path(script).name] if script else [])]))


def own_code_note(experiment: Experiment) -> str | None:
    """Say that the image must have the user's code, or return None where there is none."""
    found = own_code(experiment)
    if not found:
        return None
    return (
        f"the trials load your own {', '.join(found)}: the image {experiment.cluster.image} must "
        f"have it, so build one FROM ours and name it in cluster.image (docs/own-trainer.md, On a "
        f"cluster)"
    )
