"""Faults that an experiment has on a cluster only."""

from __future__ import annotations

from pathlib import Path

from hpo_pipeline.engines.kubernetes.pods import STORAGE_MOUNT
from hpo_pipeline.experiment.schema import Experiment


def registry_fault(experiment: Experiment, registry: str) -> str | None:
    """Return why a registry, as a pod sees it, would lose what is registered; None if it keeps it.

    Without a claim, the folder of the storage is one of the pod, which goes with it.
    """
    cluster = experiment.cluster
    if experiment.register_ is None or cluster.storage.uri is None or "://" in registry:
        return None
    mounts = [str(mount["mountPath"]) for mount in cluster.volume_mounts]
    if any(Path(registry).is_relative_to(mount) for mount in mounts):
        return None
    return (
        f"register.registry: the folder {registry} is lost with its pod: cluster.storage.uri "
        f"mounts nothing. Name a registry server, or a folder below one of cluster.volume_mounts"
    )


def faults(experiment: Experiment) -> list[str]:
    """Return what keeps an experiment from running on a cluster."""
    found = []
    task = experiment.task
    for field, name in (("model", task.model), *(("data", name) for name in task.sources)):
        path = Path(name)
        if path.is_absolute() and not path.is_relative_to(STORAGE_MOUNT):
            found.append(
                f"task.{field}: {path} is a path of this machine; on the cluster it must be an "
                f"asset, a hub id, or a path below {STORAGE_MOUNT}, where the storage is mounted"
            )
    is_stock = [experiment.search.service is None, experiment.stopping.algorithm == "katib"]
    if is_stock == [True, False] and experiment.stopping.algorithm not in ("none", "auto"):
        found.append("stopping.algorithm: Katib's own search takes katib:NAME, none or auto")
    if is_stock == [False, True]:
        found.append("stopping.algorithm: katib:NAME needs search.algorithm: katib:NAME too")
    if is_stock[0] and len(experiment.objective) > 1:
        found.append("objective: Katib's own algorithms serve one objective")
    if is_stock[0] and experiment.space.has_conditions:
        found.append("space: Katib's own algorithms know no conditions (when)")
    return found
