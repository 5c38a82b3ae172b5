"""Runs in KFP, and the groups (experiments of KFP) that list them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hpo_pipeline.errors import PipelineError
from hpo_pipeline.kubeflow.api import Kfp

Json = dict[str, Any]
OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})  # states of runs


def active_runs(kfp: Kfp, recurring_runs: Iterable[Json]) -> tuple[str, ...]:
    """Return the names of the unfinished runs that some recurring runs have started."""
    groups: dict[str, set[str]] = {}
    for body in recurring_runs:
        group = groups.setdefault(str(body.get("experiment_id", "")), set())
        group.add(str(body["recurring_run_id"]))
    return tuple(
        str(run.get("display_name"))
        for group, ids in groups.items()
        for run in runs_of(kfp, group)
        if run.get("recurring_run_id") in ids and run.get("state") not in OVER
    )


def runs_of(kfp: Kfp, group: str) -> Iterator[Json]:
    """Yield the runs of a group, latest first."""
    query = {"experiment_id": group, "namespace": kfp.namespace, "sort_by": "created_at desc"}
    return kfp.pages("/runs", "runs", **query)


def group_id(kfp: Kfp, name: str) -> str:
    """Return the id of an experiment of KFP, creating it if there is none."""
    if found := _find_group(kfp, name):
        return found
    body = {"display_name": name, "namespace": kfp.namespace}
    try:
        return str(kfp.post("/experiments", body)["experiment_id"])
    except PipelineError as error:
        if error.status == 409 and (found := _find_group(kfp, name)):
            return found  # another client created it meanwhile
        raise


def _find_group(kfp: Kfp, name: str) -> str | None:
    for group in kfp.pages("/experiments", "experiments", namespace=kfp.namespace):
        if group.get("display_name") == name:
            return str(group["experiment_id"])
    return None
