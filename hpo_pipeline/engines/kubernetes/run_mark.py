"""The id of a run on all that it makes on a cluster, by which objects and logs are found.

A label on each object and on the pods that it makes, and a variable in their containers. Without
a run, as in `hpo render`, there is neither.
"""

from __future__ import annotations

from typing import Any

from hpo_pipeline.engines.kubernetes.api import Object
from hpo_pipeline.trial.names import RUN_ID_VARIABLE

RUN_LABEL = "hpo-pipeline/run"


def marked(body: Object, run_id: str, *, variables: dict[str, str] | None = None) -> Object:
    """Return an object, or an Experiment of Katib, that carries the id of the run.

    Args:
        variables: others that the containers of its pods get.
    """
    found: dict[str, Any] = _labelled(body, run_id)
    spec = found.get("spec") or {}
    environment = {RUN_ID_VARIABLE: run_id, **(variables or {})}
    if "trialTemplate" in spec:
        template = spec["trialTemplate"]
        job = _with_pods(_labelled(template["trialSpec"], run_id), run_id, environment)
        found["spec"] = {**spec, "trialTemplate": {**template, "trialSpec": job}}
    elif "template" in spec:
        found = _with_pods(found, run_id, environment)
    return found


def run_of(body: Object) -> str | None:
    """Return the id of the run that an object carries."""
    found = (body["metadata"].get("labels") or {}).get(RUN_LABEL)
    return str(found) if found else None


def _with_pods(job: Object, run_id: str, environment: dict[str, str]) -> Object:
    template = _labelled(job["spec"]["template"], run_id)
    pod = template["spec"]
    added = [{"name": name, "value": value} for name, value in environment.items()]
    containers = [{**c, "env": [*c.get("env", ()), *added]} for c in pod["containers"]]
    template = {**template, "spec": {**pod, "containers": containers}}
    return {**job, "spec": {**job["spec"], "template": template}}


def _labelled(body: Object, run_id: str) -> dict[str, Any]:
    metadata = body.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), RUN_LABEL: run_id}
    return {**body, "metadata": {**metadata, "labels": labels}}
