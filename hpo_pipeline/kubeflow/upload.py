"""Upload the compiled pipeline: it becomes the latest version of a pipeline in KFP.

The version is named after the hash of its content, so uploading the latest version again changes
nothing, even from several places at once. Recurring runs always take the latest version.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo_pipeline.errors import PipelineError, ScheduleError
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.compiled import Compiled, Parameter, parameters_of

Json = dict[str, Any]


@dataclass(frozen=True)
class Uploaded:
    """A version of a pipeline in KFP, and whether this upload made it."""

    pipeline_id: str
    version: str
    is_new: bool


def upload(kfp: Kfp, compiled: Compiled, name: str, *, force: bool = False) -> Uploaded:
    """Make a compiled pipeline the latest version of the pipeline called `name`.

    Raises:
        ScheduleError: that pipeline takes other parameters, and `force` is not set.
    """
    pipeline_id = find_pipeline(kfp, name) or _create(kfp, name)
    versions = versions_of(kfp, pipeline_id)
    base = f"sha-{compiled.digest[:12]}"
    if versions:
        if _is_of(versions[0], base):
            return Uploaded(pipeline_id, _name(versions[0]), False)
        if not force:
            _compare(kfp, name, parameters_of(versions[0].get("pipeline_spec") or {}), compiled)
    earlier = sum(_is_of(version, base) for version in versions)
    version = f"{base}-{earlier + 1}" if earlier else base  # names stay taken; the latest counts
    try:
        kfp.upload("/pipelines/upload_version", compiled.path, name=version, pipelineid=pipeline_id)
    except PipelineError as error:
        # Another client uploaded the same meanwhile: KFP answers 500 or 409, by its store.
        taken = versions_of(kfp, pipeline_id)
        if not any(_name(other) == version for other in taken):
            raise PipelineError(
                f"{error}; Kubeflow Pipelines gives no reason: check that you may create pipelines "
                f"and pipelines/versions, and that it supports the kfp that compiled "
                f"{compiled.path.name}",
                status=error.status,
            ) from error
        return Uploaded(pipeline_id, version, False)
    latest, *others = versions_of(kfp, pipeline_id)
    if _name(latest) != version and any(
        _name(other) == version and other.get("created_at") == latest.get("created_at")
        for other in others
    ):
        # KFP keeps whole seconds, and may take either of two uploads of one second as the latest.
        time.sleep(1.1)
        return upload(kfp, compiled, name, force=force)
    return Uploaded(pipeline_id, version, True)


def find_pipeline(kfp: Kfp, name: str, *, or_shared: bool = False) -> str | None:
    """Return the id of a pipeline, looked up in the namespace and then among the shared ones."""
    for namespace in dict.fromkeys((kfp.namespace, "") if or_shared else (kfp.namespace,)):
        for pipeline in kfp.pages("/pipelines", "pipelines", namespace=namespace):
            if name in (pipeline.get("name"), pipeline.get("display_name")):
                return str(pipeline["pipeline_id"])
    return None


def pipeline_to_run(kfp: Kfp, name: str) -> tuple[str, dict[str, Parameter]]:
    """Return the id of a pipeline and the parameters of its latest version.

    Raises:
        ScheduleError: there is none.
    """
    pipeline_id = find_pipeline(kfp, name, or_shared=True)
    versions = versions_of(kfp, pipeline_id) if pipeline_id else []
    if pipeline_id is None or not versions:
        raise ScheduleError(
            f"no pipeline {name} on {kfp.endpoint}: upload it first with `hpo pipeline upload`"
        )
    return pipeline_id, parameters_of(versions[0].get("pipeline_spec") or {})


def versions_of(kfp: Kfp, pipeline_id: str) -> list[Json]:
    """Return the versions of a pipeline, the latest first."""
    path = f"/pipelines/{pipeline_id}/versions"
    return list(kfp.pages(path, "pipeline_versions", sort_by="created_at desc"))


def _create(kfp: Kfp, name: str) -> str:
    body = {"name": name, "display_name": name, "namespace": kfp.namespace}
    try:
        return str(kfp.post("/pipelines", {k: v for k, v in body.items() if v})["pipeline_id"])
    except PipelineError as error:
        if error.status == 409 and (found := find_pipeline(kfp, name)):
            return found  # another client created it meanwhile
        raise


def _name(version: Json) -> str:
    return str(version.get("name") or version.get("display_name") or "")


def _is_of(version: Json, base: str) -> bool:
    return _name(version) == base or _name(version).startswith(f"{base}-")


def _compare(kfp: Kfp, name: str, there: Mapping[str, Parameter], compiled: Compiled) -> None:
    ours = compiled.parameters
    lines = []
    for key in dict.fromkeys((*there, *ours)):
        has, wants = there.get(key, "nothing"), ours.get(key, "nothing")
        if has != wants:
            lines.append(f"{key}: {has} there, {wants} in {compiled.path.name}")
    if lines:
        faults = "".join(f"\n  - {line}" for line in lines)
        raise ScheduleError(
            f"pipeline {name} of {kfp.endpoint} takes other parameters:{faults}\n"
            "runs and schedules that set its parameters may break: choose another --name, or add "
            "this version anyway with --force"
        )
