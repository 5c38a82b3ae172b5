"""Whether there is room for the trials of an experiment: nodes, quotas and limit ranges."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hpo_pipeline.engines.katib import install, manifest
from hpo_pipeline.engines.kubernetes.api import (
    LIMIT_RANGES,
    NODES,
    PODS,
    QUOTAS,
    Api,
    Object,
)
from hpo_pipeline.engines.kubernetes.capacity import (
    Need,
    need_of,
    node_findings,
    quota_findings,
    range_findings,
)
from hpo_pipeline.engines.kubernetes.findings import Finding
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.experiment.schema import Experiment


def nodes(experiment: Experiment, api: Api) -> Iterator[Finding]:
    """Compare one trial, and as many as run at a time, with the nodes."""
    count = len(api.list(NODES, "")["items"])
    fitting = schedulable(experiment, api)
    if not fitting:
        selector = ", ".join(f"{k}={v}" for k, v in experiment.cluster.node_selector.items())
        what = f"none of {count} nodes fits {selector or 'the trials'}"
        yield Finding(what, False, "see cluster.node_selector")
        return
    pods = None
    with contextlib.suppress(ClusterError):
        pods = api.list(PODS, "")["items"]
    trial, parallel = _need(experiment)
    yield from node_findings(trial, parallel, fitting, pods)


def quotas(experiment: Experiment, api: Api) -> Iterator[Finding]:
    """Compare one trial, and as many as run at a time, with quotas and limit ranges."""
    trial, parallel = _need(experiment)
    services = install.services(experiment.chosen_search.algorithm)
    beside = need_of("the pod of the services", {"containers": services}, is_set=False)
    namespace = experiment.cluster.namespace
    yield from quota_findings(trial, beside, parallel, api.list(QUOTAS, namespace)["items"])
    yield from range_findings([trial, beside], api.list(LIMIT_RANGES, namespace)["items"])


def schedulable(experiment: Experiment, api: Api) -> list[Object]:
    """Return the nodes on which trials may run; none where nodes may not be listed."""
    wanted = experiment.cluster.node_selector.items()
    try:
        nodes = api.list(NODES, "")["items"]
    except ClusterError:
        return []
    return [
        node
        for node in nodes
        if wanted <= (node["metadata"].get("labels") or {}).items()
        and not (node["spec"].get("unschedulable") or False)
    ]


def _need(experiment: Experiment) -> tuple[Need, int]:
    """Return what one trial asks for, and how many run at a time."""
    template = manifest.manifests(experiment)[1]["spec"]["trialTemplate"]["trialSpec"]
    pod = template["spec"]["template"]["spec"]
    return need_of("a trial", pod), min(experiment.budget.parallel, experiment.budget.trials)
