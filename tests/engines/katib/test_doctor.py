"""What `hpo doctor` finds on clusters that are not as they must be."""

import pytest

from hpo_pipeline.engines.katib import install
from hpo_pipeline.engines.katib.doctor import examine, faults
from hpo_pipeline.errors import ClusterError
from tests.engines.katib.test_install import STOCK
from tests.toys import toy_experiment

GPUS = {"nvidia.com/gpu": "2"}


def sound():
    """The objects of a cluster on which all is well, by kind and name."""
    crd = {"spec": {"versions": [{"name": "v1beta1", "served": True}]}}
    containers = [{"image": "ghcr.io/kubeflow/katib/katib-controller:v0.19.0"}]
    controller = {
        "spec": {"template": {"spec": {"containers": containers}}},
        "status": {"readyReplicas": 1},
    }
    labels = {"katib.kubeflow.org/metrics-collector-injection": "enabled"}
    node = {
        "metadata": {"labels": {}},
        "spec": {},
        "status": {"allocatable": {"nvidia.com/gpu": "2"}},
    }
    return {
        **{
            ("customresourcedefinitions", f"{p}.kubeflow.org"): crd
            for p in ("experiments", "suggestions", "trials")
        },
        ("deployments", "katib-controller"): controller,
        ("namespaces", "hpo"): {"metadata": {"labels": labels}},
        ("configmaps", "katib-config"): {"data": {"katib-config.yaml": install.merged(STOCK)}},
        ("serviceaccounts", "hpo-trial"): {},
        ("serviceaccounts", "hpo-services"): {},
        ("persistentvolumeclaims", "hpo-storage"): {
            "spec": {"accessModes": ["ReadWriteMany"]},
            "status": {"phase": "Bound"},
        },
        ("nodes", "a"): node,
    }


class Objects:
    """A cluster of fixed objects; `denied` are verbs that the user may not use."""

    def __init__(self, objects, denied=(), error=None):
        self.objects, self.denied, self.error = objects, denied, error

    def get(self, kind, namespace, name):
        try:
            return self.objects[kind.plural, name]
        except KeyError:
            raise ClusterError(f"{kind.plural} {name} not found", status=404) from None

    def list(self, kind, namespace, *, labels=""):
        if self.error:
            raise self.error
        return {"items": [o for (plural, _), o in self.objects.items() if plural == kind.plural]}

    def create(self, kind, namespace, body):
        attributes = body["spec"]["resourceAttributes"]
        return {"status": {"allowed": attributes["verb"] not in self.denied}}


def found(objects, experiment=None, **options):
    experiment = experiment or toy_experiment(budget={"trials": 4, "parallel": 2})
    return faults(examine(experiment, Objects(objects, **options)))


def test_a_sound_cluster_has_no_faults():
    assert found(sound()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (("customresourcedefinitions", "experiments.kubeflow.org"), "Katib is not installed"),
        (("deployments", "katib-controller"), "has no katib-controller"),
        (("namespaces", "hpo"), "there is no namespace hpo"),
        (("serviceaccounts", "hpo-services"), "has no service account hpo-services"),
        (("persistentvolumeclaims", "hpo-storage"), "has no claim hpo-storage"),
    ],
)
def test_what_is_missing_is_found(name, said):
    objects = sound()
    del objects[name]
    assert any(said in fault for fault in found(objects))


def test_an_old_katib_is_found():
    objects = sound()
    containers = objects["deployments", "katib-controller"]["spec"]["template"]["spec"]
    containers["containers"][0]["image"] = "katib-controller:v0.14.0"
    assert any("Katib is too old" in fault for fault in found(objects))


def test_a_namespace_without_the_label_is_found():
    objects = sound()
    objects["namespaces", "hpo"] = {"metadata": {}}
    assert any("lacks the label" in fault for fault in found(objects))


def test_a_namespace_that_enforces_restricted_is_found():
    objects = sound()
    labels = objects["namespaces", "hpo"]["metadata"]["labels"]
    objects["namespaces", "hpo"]["metadata"]["labels"] = {
        **labels,
        "pod-security.kubernetes.io/enforce": "restricted",
    }
    assert any("gives its early-stopping container" in fault for fault in found(objects))


def test_missing_permissions_are_named_all_at_once():
    (fault,) = found(sound(), denied=("watch",))
    assert "watch experiments, watch trials, watch pods, watch jobs" in fault


def test_algorithms_that_katib_does_not_know_are_found():
    objects = sound()
    objects["configmaps", "katib-config"] = {"data": {"katib-config.yaml": STOCK}}
    assert any("hpo katib install" in fault for fault in found(objects))


@pytest.mark.parametrize(
    ("storage_class", "said"),
    [("nope", "there is no storage class nope"), (None, "names no storage class")],
)
def test_a_claim_that_nothing_can_bind_is_found(storage_class, said):
    objects = sound()
    claim = objects["persistentvolumeclaims", "hpo-storage"]
    claim["spec"]["storageClassName"], claim["status"]["phase"] = storage_class, "Pending"
    assert said in "".join(faults(examine(toy_experiment(), Objects(objects))))
    objects["storageclasses", "nope"] = {}
    is_there = not faults(examine(toy_experiment(), Objects(objects)))
    assert is_there == (storage_class == "nope")


def test_a_claim_for_one_node_is_found_where_trials_may_run_on_several():
    objects = sound()
    objects["persistentvolumeclaims", "hpo-storage"]["spec"]["accessModes"] = ["ReadWriteOnce"]
    objects["nodes", "b"] = objects["nodes", "a"]
    assert any("is ReadWriteOnce" in fault for fault in found(objects))


def test_gpus_that_no_node_has_are_found():
    experiment, objects = toy_experiment(cluster={"gpus": 1}), sound()
    objects["nodes", "a"]["status"]["allocatable"]["nvidia.com/gpu"] = "0"
    assert any("no node has more than 0" in fault for fault in found(objects, experiment))


def test_a_quota_below_one_trial_is_found():
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}
    objects = {**sound(), ("resourcequotas", "small"): quota}
    experiment = toy_experiment(cluster={"gpus": 1})
    assert any("quota small allows 0" in fault for fault in found(objects, experiment))


def test_expired_credentials_are_the_only_finding():
    error = ClusterError("the cluster does not accept the credentials", status=401)
    (fault,) = found(sound(), error=error)
    assert "does not accept the credentials" in fault
