"""What must be right on a cluster before an experiment starts: all findings at once.

Each check asks the cluster for little and says what to do. What we may not look at (403) is shown
as unknown; it is an error only if the engine itself needs the permission.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hpo_pipeline.engines.katib import install, manifest
from hpo_pipeline.engines.katib.names import INJECTION_LABEL, SERVICES_ACCOUNT
from hpo_pipeline.engines.katib.own_code import own_code_note
from hpo_pipeline.engines.katib.permissions import permissions, services_permissions
from hpo_pipeline.engines.katib.room import nodes, quotas, schedulable
from hpo_pipeline.engines.katib.trial_template import is_stock
from hpo_pipeline.engines.kubernetes.api import (
    CLAIMS,
    CRDS,
    DEPLOYMENTS,
    EXPERIMENTS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    STORAGE_CLASSES,
    Api,
)
from hpo_pipeline.engines.kubernetes.capacity import quantity
from hpo_pipeline.engines.kubernetes.diagnosis import is_waiting_in_vain, pending_cause
from hpo_pipeline.engines.kubernetes.findings import Finding
from hpo_pipeline.errors import ClusterError, HpoError
from hpo_pipeline.experiment.schema import Experiment

_UNSEEN = {
    "name": "no other namespace may have an experiment of this name: Katib's database mixes them",
    "services_permissions": "the account hpo-services must have the Role of manifests/base",
    "nodes": "a node must have room for cluster.cpu and cluster.memory of a trial",
}
NOT_FOUND, FORBIDDEN = 404, 403
IMPORT_SECONDS = 6.5
"""Seconds of a core that a trial's process needs to import torch, transformers and datasets."""
LOOK_SECONDS = 3.0
RESTART_SECONDS = 30.0
"""How long to wait for a controller that is not ready: it may be starting again."""
TOO_OLD = (0, 16)


Check = Callable[[], Iterator[Finding]]


def examine(
    experiment: Experiment, api: Api, *, sleep: Callable[[float], None] = time.sleep
) -> list[Finding]:
    """Return all findings; where the API cannot be reached, there is only that one.

    Args:
        sleep: waits for so many seconds, before a controller that is not ready is looked at again.
    """
    try:
        api.list(PODS, experiment.cluster.namespace)
    except ClusterError as error:
        if error.status in (0, 401):
            return [Finding(str(error), False, "check KUBECONFIG, the context and your login")]
    checks: list[Callable[[Experiment, Api], Iterator[Finding]]] = [
        partial(_katib, sleep=sleep),
        _namespace,
        permissions,
        services_permissions,
        _algorithms,
        _accounts,
        _storage,
        nodes,
        quotas,
        _name,
        _start,
        _image,
    ]
    findings = [Finding("the API server answers")]
    for check in checks:
        name = "katib" if isinstance(check, partial) else check.__name__.strip("_")
        findings += _guarded(partial(check, experiment, api), name)
    return findings


def faults(findings: list[Finding]) -> list[str]:
    """Return what is wrong, each with what to do."""
    wrong = [finding for finding in findings if not finding.is_right]
    return [f"{f.what}" + (f"; {f.remedy}" if f.remedy else "") for f in wrong]


def _guarded(check: Check, name: str) -> list[Finding]:
    try:
        return list(check())
    except ClusterError as error:
        if error.status == FORBIDDEN:
            remedy = _UNSEEN.get(name, "")
            return [Finding(f"{name}: you may not look at it", remedy=remedy, is_known=False)]
        return [Finding(f"{name}: {error}", False)]
    except HpoError as error:
        return [Finding(f"{name}: {error}", False)]


def _katib(
    experiment: Experiment, api: Api, *, sleep: Callable[[float], None]
) -> Iterator[Finding]:
    namespace = experiment.cluster.katib_namespace
    remedy = "install Katib 0.19 (see the README)"
    for plural in ("experiments", "suggestions", "trials"):
        try:
            found = api.get(CRDS, "", f"{plural}.kubeflow.org")
        except ClusterError as error:
            if error.status != NOT_FOUND:
                raise
            yield Finding("Katib is not installed: there is no kind Experiment", False, remedy)
            return
        served = [v["name"] for v in found["spec"]["versions"] if v.get("served")]
        if "v1beta1" not in served:
            what = f"Katib's {plural} are served as {', '.join(served)}, not as v1beta1"
            yield Finding(what, False, remedy)
    try:
        controller = api.get(DEPLOYMENTS, namespace, "katib-controller")
    except ClusterError as error:
        if error.status != NOT_FOUND:
            raise
        what = f"namespace {namespace} has no katib-controller"
        yield Finding(what, False, "set cluster.katib_namespace to where Katib runs")
        return
    image = controller["spec"]["template"]["spec"]["containers"][0]["image"]
    waited = 0.0
    while not (controller.get("status") or {}).get("readyReplicas"):
        if waited >= RESTART_SECONDS:
            remedy = f"kubectl -n {namespace} logs deployment/katib-controller"
            yield Finding(f"katib-controller is not ready for {waited:.0f} s", False, remedy)
            break
        sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
        controller = api.get(DEPLOYMENTS, namespace, "katib-controller")
    version = _version(image)
    if version is not None and version < TOO_OLD:
        yield Finding(f"Katib is too old ({image})", False, remedy)
    else:
        yield Finding(f"Katib is there ({image})")


def _version(image: str) -> tuple[int, ...] | None:
    tag = image.rpartition(":")[2].removeprefix("v").split("-")[0]
    parts = tag.split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None


def _namespace(experiment: Experiment, api: Api) -> Iterator[Finding]:
    name = experiment.cluster.namespace
    try:
        found = api.get(NAMESPACES, "", name)
    except ClusterError as error:
        if error.status != NOT_FOUND:
            raise
        yield Finding(f"there is no namespace {name}", False, "kubectl apply -k manifests/base")
        return
    labels = found["metadata"].get("labels") or {}
    if labels.get(INJECTION_LABEL) != "enabled":
        remedy = f"kubectl label namespace {name} {INJECTION_LABEL}=enabled"
        yield Finding(f"namespace {name} lacks the label {INJECTION_LABEL}", False, remedy)
    else:
        yield Finding(f"namespace {name} has Katib's label")
    enforced = labels.get("pod-security.kubernetes.io/enforce")
    if enforced == "restricted" and "earlyStopping" in _spec(experiment):
        yield Finding(
            f"namespace {name} enforces the pod security level restricted, and Katib gives its "
            f"early-stopping container no security context",
            False,
            f"kubectl label --overwrite namespace {name} "
            f"pod-security.kubernetes.io/enforce=baseline",
        )


def _algorithms(experiment: Experiment, api: Api) -> Iterator[Finding]:
    namespace = experiment.cluster.katib_namespace
    searches, rules = install.known_algorithms(install.configuration(api, namespace))
    spec = _spec(experiment)
    wanted = [(spec["algorithm"]["algorithmName"], searches)]
    if "earlyStopping" in spec:
        wanted.append((spec["earlyStopping"]["algorithmName"], rules))
    missing = [name for name, known in wanted if name not in known]
    if missing:
        is_of_katib = is_stock(experiment)
        listed = ", ".join(sorted(searches | rules))
        remedy = f"there are {listed}" if is_of_katib else "hpo katib install"
        yield Finding(f"Katib does not know {', '.join(missing)}", False, remedy)
    else:
        yield Finding(f"Katib knows {', '.join(name for name, _ in wanted)}")


def _accounts(experiment: Experiment, api: Api) -> Iterator[Finding]:
    namespace = experiment.cluster.namespace
    wanted = [experiment.cluster.service_account]
    wanted += [] if is_stock(experiment) else [SERVICES_ACCOUNT]
    for name in wanted:
        try:
            api.get(SERVICE_ACCOUNTS, namespace, name)
        except ClusterError as error:
            if error.status != NOT_FOUND:
                raise
            what = f"namespace {namespace} has no service account {name}"
            yield Finding(what, False, "kubectl apply -k manifests/base")


def _storage(experiment: Experiment, api: Api) -> Iterator[Finding]:
    claim, namespace = experiment.cluster.storage.claim, experiment.cluster.namespace
    if claim is None:
        return
    try:
        found = api.get(CLAIMS, namespace, claim)
    except ClusterError as error:
        if error.status != NOT_FOUND:
            raise
        what = f"namespace {namespace} has no claim {claim}"
        yield Finding(what, False, "kubectl apply -k manifests/base, or set cluster.storage")
        return
    phase = (found.get("status") or {}).get("phase")
    modes = found["spec"].get("accessModes") or []
    if phase == "Lost":
        yield Finding(f"claim {claim} has lost its volume", False, "make a new one")
    elif phase != "Bound":
        yield _unbound(claim, found["spec"].get("storageClassName"), api)
    else:
        yield Finding(f"claim {claim} is bound")
    fitting = schedulable(experiment, api)
    if "ReadWriteMany" not in modes and len(fitting) > 1 and experiment.budget.parallel > 1:
        yield Finding(
            f"claim {claim} is {', '.join(modes)}, and trials may run on {len(fitting)} nodes",
            False,
            "use a claim that is ReadWriteMany, cluster.node_selector for one node, or "
            "cluster.storage.uri",
        )


def _unbound(claim: str, storage_class: str | None, api: Api) -> Finding:
    """Return whether a claim that is not bound can still become so: only a class makes volumes."""
    remedy = "make a volume that fits it, or a claim of a class that `kubectl get sc` lists"
    if not storage_class:
        return Finding(f"claim {claim} is not bound, and names no storage class", False, remedy)
    try:
        api.get(STORAGE_CLASSES, "", storage_class)
    except ClusterError as error:
        if error.status == NOT_FOUND:
            what = f"claim {claim} is not bound: there is no storage class {storage_class}"
            return Finding(what, False, remedy)
        if error.status != FORBIDDEN:
            raise
    said = "it may bind with the first pod; if not, its class has no volume for it"
    return Finding(f"claim {claim} is not bound yet ({storage_class}); {said}")


def _start(experiment: Experiment, api: Api) -> Iterator[Finding]:
    """Tell how long a trial takes to start, which is more than small ones train."""
    seconds = IMPORT_SECONDS / min(1.0, quantity(experiment.cluster.cpu))
    yield Finding(
        f"each trial spends about {seconds:.0f} s on loading torch and transformers before it "
        f"trains; `--engine local` pays that once, which suits trials of seconds"
    )


def _name(experiment: Experiment, api: Api) -> Iterator[Finding]:
    """Look for the experiment's name in other namespaces: Katib's database knows only names."""
    own = experiment.cluster.namespace
    others = sorted(
        item["metadata"]["namespace"]
        for item in api.list(EXPERIMENTS, "")["items"]
        if item["metadata"]["name"] == experiment.name
        and item["metadata"].get("namespace", own) != own
    )
    if others:
        what = f"namespace {others[0]} has an experiment {experiment.name} too"
        remedy = "choose another name: Katib's database would mix the values of their trials"
        yield Finding(what, False, remedy)


def _image(experiment: Experiment, api: Api) -> Iterator[Finding]:
    """Look whether pods wait for this image without success; only nodes know for sure.

    Whether it has the user's own code cannot be seen from here.
    """
    if (note := own_code_note(experiment)) is not None:
        yield Finding(note, is_known=False)
    wanted = experiment.cluster.image
    for pod in api.list(PODS, experiment.cluster.namespace)["items"]:
        images = [container["image"] for container in pod["spec"]["containers"]]
        if wanted in images and is_waiting_in_vain(pod):
            yield Finding(f"image {wanted}: {pending_cause(pod)}", False, "see cluster.image")
            return


def _spec(experiment: Experiment) -> dict[str, Any]:
    spec: dict[str, Any] = manifest.manifests(experiment)[1]["spec"]
    return spec
