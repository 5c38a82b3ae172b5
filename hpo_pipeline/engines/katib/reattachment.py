"""Whether an experiment that is on the cluster already is the one to be run; pure functions."""

from __future__ import annotations

from hpo_pipeline.engines.katib.manifest import identity
from hpo_pipeline.engines.katib.names import IDENTITY_ANNOTATION, STOP_ANNOTATION
from hpo_pipeline.engines.katib.status import ended
from hpo_pipeline.engines.kubernetes.api import Object
from hpo_pipeline.errors import BackendError
from hpo_pipeline.experiment.schema import Experiment


def require_same(experiment: Experiment, found: Object) -> None:
    """Check that the experiment on the cluster is this one.

    Raises:
        BackendError: it is another one, or is being deleted.
    """
    name, namespace = experiment.name, experiment.cluster.namespace
    if found["metadata"].get("deletionTimestamp"):
        raise BackendError(f"{name}: the experiment is being deleted; try again soon")
    if _notes(found).get(IDENTITY_ANNOTATION) != identity(experiment):
        raise BackendError(
            f"{name}: namespace {namespace} has another experiment of this name, or this one "
            f"before it was changed; choose another name, or remove it: "
            f"hpo delete {name} --namespace {namespace}"
        )


def stop_reason(found: Object) -> str | None:
    """Return why an experiment is about to end, if somebody has asked it to."""
    reason: str | None = _notes(found).get(STOP_ANNOTATION)
    return None if ended(found) else reason


def _notes(found: Object) -> Object:
    return found["metadata"].get("annotations") or {}
