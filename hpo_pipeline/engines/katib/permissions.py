"""Whether the two accounts of a search may do what they have to: ours, and that of the services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hpo_pipeline.engines.katib.names import SERVICES_ACCOUNT
from hpo_pipeline.engines.katib.trial_template import is_stock
from hpo_pipeline.engines.kubernetes.api import OTHERS_REVIEWS, REVIEWS, SELF_REVIEWS, Api
from hpo_pipeline.engines.kubernetes.findings import Finding
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.experiment.schema import Experiment

Rights = tuple[tuple[str, str, str, tuple[str, ...]], ...]
"""API group, resource, subresource, verbs."""

NEEDED: Rights = (
    ("kubeflow.org", "experiments", "", ("get", "list", "watch", "create", "patch")),
    ("kubeflow.org", "experiments", "status", ("patch",)),
    ("kubeflow.org", "trials", "", ("list", "watch")),
    ("kubeflow.org", "trials", "status", ("patch",)),
    ("", "configmaps", "", ("get", "create")),
    ("", "secrets", "", ("create", "delete")),
    ("", "pods", "", ("list", "watch")),
    ("", "pods", "log", ("get",)),
    ("batch", "jobs", "", ("get", "list", "watch", "create", "patch", "delete")),
)
SERVICES_NEED: Rights = (
    ("kubeflow.org", "experiments", "", ("get", "patch")),
    ("kubeflow.org", "experiments", "status", ("patch",)),
    ("kubeflow.org", "trials", "", ("get", "list", "patch")),
    ("kubeflow.org", "trials", "status", ("patch",)),
    ("", "pods", "", ("list",)),
    ("batch", "jobs", "", ("get", "delete")),
)


def permissions(experiment: Experiment, api: Api) -> Iterator[Finding]:
    """Check that we may start, follow and end experiments."""
    namespace = experiment.cluster.namespace

    def may(attributes: dict[str, str]) -> bool:
        return _answer(api, "", {"resourceAttributes": attributes}, "SelfSubjectAccessReview")

    missing = _missing(NEEDED, namespace, may)
    if missing:
        who = _who(api)
        what = f"{who} may not {', '.join(missing)} in namespace {namespace}"
        yield Finding(what, False, f"bind the Role hpo-runner of manifests/base to {who}")
    else:
        yield Finding("you may start and follow experiments")


def services_permissions(experiment: Experiment, api: Api) -> Iterator[Finding]:
    """Check the account of our services, whose Role may be that of an earlier version.

    Raises:
        ClusterError: we may not ask for others (403).
    """
    if is_stock(experiment):
        return
    namespace = experiment.cluster.namespace
    user = f"system:serviceaccount:{namespace}:{SERVICES_ACCOUNT}"
    groups = [
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    ]

    def may(attributes: dict[str, str]) -> bool:
        spec = {"user": user, "groups": groups, "resourceAttributes": attributes}
        return _answer(api, namespace, spec, "LocalSubjectAccessReview")

    missing = _missing(SERVICES_NEED, namespace, may)
    if missing:
        what = f"{SERVICES_ACCOUNT} may not {', '.join(missing)} in namespace {namespace}"
        yield Finding(what, False, "kubectl apply -k manifests/base")
    else:
        yield Finding(f"{SERVICES_ACCOUNT} may do what the services must")


def _missing(rights: Rights, namespace: str, may: Callable[[dict[str, str]], bool]) -> list[str]:
    return [
        f"{verb} {resource}{'/' * bool(subresource)}{subresource}"
        for group, resource, subresource, verbs in rights
        for verb in verbs
        if not may(
            {
                "namespace": namespace,
                "verb": verb,
                "group": group,
                "resource": resource,
                "subresource": subresource,
            }
        )
    ]


def _answer(api: Api, namespace: str, spec: dict[str, Any], kind: str) -> bool:
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": kind,
        "spec": spec,
    }
    if namespace:
        review["metadata"] = {"namespace": namespace}
    found = api.create(OTHERS_REVIEWS if namespace else REVIEWS, namespace, review)
    return bool(found["status"]["allowed"])


def _who(api: Api) -> str:
    """Return the name under which the cluster knows us, which is what a binding needs."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        found = api.create(SELF_REVIEWS, "", review)
        return str(found["status"]["userInfo"]["username"])
    except (ClusterError, KeyError):
        return "you"
