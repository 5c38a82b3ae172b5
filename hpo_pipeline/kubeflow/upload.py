"""`python -m pipelines.upload`: the compiled pipeline becomes a version of one in KFP.

The version is named by the hash of its content, so that uploading again what is the latest version
already changes nothing, from however many places at once. KFP has recurring runs take the latest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipeline.errors import HpoError, PipelineError, ScheduleError
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.compiled import (
    COMPILED,
    Compiled,
    Parameter,
    parameters_of,
    read_compiled,
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Uploaded:
    """Where a compiled pipeline stands in KFP."""

    pipeline_id: str
    version: str
    is_new: bool


def upload(kfp: Kfp, compiled: Compiled, name: str, *, force: bool = False) -> Uploaded:
    """Make a compiled pipeline the latest version of the pipeline of a name.

    Raises:
        ScheduleError: a pipeline of that name takes other parameters, and not `force`.
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
        # Somebody uploaded the same meanwhile. KFP says 500 or 409, by its store.
        taken = versions_of(kfp, pipeline_id)
        if not any(_name(other) == version for other in taken):
            raise PipelineError(
                f"{error}; it does not say why: may you create pipelines and pipelines/versions "
                f"there, and does this KFP take what {compiled.path.name} was compiled by?",
                status=error.status,
            ) from error
        return Uploaded(pipeline_id, version, False)
    latest, *others = versions_of(kfp, pipeline_id)
    if _name(latest) != version and any(
        _name(other) == version and other.get("created_at") == latest.get("created_at")
        for other in others
    ):
        # KFP counts in whole seconds, and takes either of two of one second for the latest.
        time.sleep(1.1)
        return upload(kfp, compiled, name, force=force)
    return Uploaded(pipeline_id, version, True)


def find_pipeline(kfp: Kfp, name: str, *, or_shared: bool = False) -> str | None:
    """Return the id of the pipeline of a name, in the namespace or among those of everybody."""
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
            f"no pipeline {name} on {kfp.endpoint}: upload it first with `make pipeline` or "
            "`python -m pipelines.upload`"
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
            return found  # somebody else created it meanwhile
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
            "what others made of it may break: take another --name, or "
            "--force to add this version all the same"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Upload the compiled pipeline; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.upload", description=__doc__)
    parser.add_argument("--file", type=Path, default=COMPILED, help="compiled pipeline (hpo.yaml)")
    parser.add_argument("--name", help="of the pipeline in KFP (its own name)")
    parser.add_argument("--force", action="store_true", help="though parameters differ")
    add_connection(parser)
    options = parser.parse_args(argv)
    try:
        compiled = read_compiled(options.file)
        name = options.name or compiled.name
        uploaded = upload(connect(options), compiled, name, force=options.force)
    except HpoError as error:
        print(f"upload: {error}", file=sys.stderr)
        return error.exit_code
    news = "is new" if uploaded.is_new else "was there already"
    print(f"pipeline {name}: version {uploaded.version} {news}")
    return 0


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which KFP is meant."""
    parser.add_argument("--endpoint", metavar="URL", help="of Kubeflow Pipelines ($KFP_ENDPOINT)")
    parser.add_argument("--namespace", help="of a profile, in a multi-user Kubeflow")


def connect(options: argparse.Namespace) -> Kfp:
    """Return the KFP that the options mean."""
    return Kfp(options.endpoint, namespace=options.namespace)


if __name__ == "__main__":
    sys.exit(main())
