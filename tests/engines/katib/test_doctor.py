"""What `hpo doctor` finds on clusters that are not as they must be."""

import pytest

from hpo_pipeline.engines.katib import install
from hpo_pipeline.engines.katib.doctor import examine, faults
from hpo_pipeline.engines.katib.own_code import own_code_note
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
        "metadata": {"name": "a", "labels": {}},
        "spec": {},
        "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}},
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
    """A cluster of fixed objects; `denied` are verbs and resources that the user
    may not use, `services_denied` verbs that the services may not use, `hidden` kinds that the
    user may not list.
    """

    def __init__(self, objects, denied=(), error=None, hidden=(), services_denied=()):
        self.objects, self.denied, self.error = objects, denied, error
        self.hidden, self.services_denied = hidden, services_denied

    def get(self, kind, namespace, name):
        try:
            return self.objects[kind.plural, name]
        except KeyError:
            raise ClusterError(f"{kind.plural} {name} not found", status=404) from None

    def list(self, kind, namespace, *, labels=""):
        if self.error:
            raise self.error
        if kind.plural in self.hidden:
            raise ClusterError("forbidden", status=403)
        return {"items": [o for (plural, _), o in self.objects.items() if plural == kind.plural]}

    def create(self, kind, namespace, body):
        if kind.plural in self.hidden:
            raise ClusterError("forbidden", status=403)
        attributes = body["spec"]["resourceAttributes"]
        if "user" in body["spec"]:
            return {"status": {"allowed": attributes["verb"] not in self.services_denied}}
        what = f"{attributes['resource']}/{attributes['subresource']}".strip("/")
        is_denied = attributes["verb"] in self.denied or what in self.denied
        return {"status": {"allowed": not is_denied}}


def found(objects, experiment=None, **options):
    experiment = experiment or toy_experiment(budget={"trials": 4, "parallel": 2})
    return faults(examine(experiment, Objects(objects, **options)))


def test_a_sound_cluster_has_no_faults():
    assert found(sound()) == []


def test_code_of_the_user_is_named_because_only_the_image_can_have_it():
    task = {
        "kind": "custom",
        "trainer": "/home/me/work/mine:build",
        "evaluate": "judges.strict:judge",
    }
    custom = toy_experiment(
        task=task,
        objective={"metric": "hits", "goal": "maximize"},
        space={"learning_rate": {"type": "float", "low": 0.1, "high": 1.0}},
        cluster={"image": "me/trial:1"},
    )
    (said,) = [f for f in examine(custom, Objects(sound())) if "your own" in f.what]
    assert said.mark == "?"
    assert "your own mine, judges.strict: the image me/trial:1 must have it" in said.what
    assert own_code_note(toy_experiment()) is None


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


def test_the_rights_of_the_services_are_looked_at():
    (fault,) = found(sound(), services_denied=("delete", "list"))
    assert fault == (
        "hpo-services may not list trials, list pods, delete jobs in namespace hpo; "
        "kubectl apply -k manifests/base"
    )


def test_the_rights_of_the_services_may_be_hidden():
    objects = Objects(sound(), hidden=("localsubjectaccessreviews",))
    unknown = [f for f in examine(toy_experiment(), objects) if not f.is_known]
    assert any("services_permissions: you may not look" in finding.what for finding in unknown)


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


def test_a_limit_range_that_the_services_do_not_fit_into_is_found_once():
    limits = {"spec": {"limits": [{"type": "Container", "max": {"cpu": "500m"}}]}}
    objects = {**sound(), ("limitranges", "small"): {"metadata": {"name": "small"}, **limits}}
    trial, services = found(objects)
    assert trial.endswith("a trial wants 2; ask for less (cluster.cpu), or for a wider range")
    assert "the pod of the services wants 1; ask for a wider range: what" in services


def test_a_claim_for_one_node_is_found_where_trials_may_run_on_several():
    objects = sound()
    objects["persistentvolumeclaims", "hpo-storage"]["spec"]["accessModes"] = ["ReadWriteOnce"]
    objects["nodes", "b"] = objects["nodes", "a"]
    assert any("is ReadWriteOnce" in fault for fault in found(objects))


def test_gpus_that_no_node_has_are_found():
    experiment, objects = toy_experiment(cluster={"gpus": 1}), sound()
    objects["nodes", "a"]["status"]["allocatable"]["nvidia.com/gpu"] = "0"
    (fault,) = found(objects, experiment)
    assert "a trial wants cpu 2, memory 4Gi, nvidia.com/gpu 1, and the node has" in fault
    assert "nvidia.com/gpu 0 beside what always runs there" in fault


def test_a_quota_below_one_trial_is_found():
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}
    objects = {**sound(), ("resourcequotas", "small"): quota}
    experiment = toy_experiment(cluster={"gpus": 1})
    assert any(
        "quota small allows requests.nvidia.com/gpu 0; a trial wants 1" in fault
        for fault in found(objects, experiment)
    )


def running(name, cpu, owner="ReplicaSet"):
    """A pod on node a."""
    resources = {"requests": {"cpu": cpu}}
    return {
        "metadata": {"name": name, "ownerReferences": [{"kind": owner}]},
        "spec": {"nodeName": "a", "containers": [{"image": "x", "resources": resources}]},
        "status": {"phase": "Running"},
    }


def test_a_node_that_is_too_small_beside_what_always_runs_there_is_found():
    """The first command of the README on two cores, of which CoreDNS uses some."""
    objects = sound()
    objects["nodes", "a"]["status"]["allocatable"]["cpu"] = "2"
    assert found(objects) == []
    (fault,) = found({**objects, ("pods", "dns"): running("dns", "100m")})
    assert "a trial wants cpu 2, memory 4Gi, and the node has cpu 1.9, memory 32Gi" in fault
    assert found({**objects, ("pods", "job"): running("job", "100m", "Job")}) == []


def said(objects, **options):
    """Return all lines of the doctor, with their marks."""
    experiment = toy_experiment(budget={"trials": 8, "parallel": 6})
    return [f"{f.mark} {f.what}" for f in examine(experiment, Objects(objects, **options))]


def test_fewer_trials_at_a_time_than_asked_for_are_told():
    assert "ok the nodes have room for 4 of 6 trials at a time" in said(sound())
    spec = {"hard": {"pods": "4", "limits.cpu": "9"}}
    quota = {"metadata": {"name": "q"}, "spec": spec}
    lines = said({**sound(), ("resourcequotas", "q"): quota})
    assert "ok quota q allows pods 4: 3 of 6 trials can run at a time" in lines
    assert "ok quota q allows limits.cpu 9: 3 of 6 trials can run at a time" in lines


@pytest.mark.parametrize(
    ("hard", "said"),
    [
        ({"requests.cpu": "700m"}, "allows requests.cpu 700m; a trial wants 2, and its services"),
        ({"memory": "4Gi"}, "allows memory 4Gi; a trial wants 4Gi, and its services 300Mi"),
        ({"limits.memory": "4096Mi"}, "allows limits.memory 4Gi; a trial wants 4Gi"),
        ({"pods": "1"}, "allows pods 1; a trial wants 1, and its services 1"),
    ],
)
def test_quotas_of_cpu_memory_and_pods_are_compared(hard, said):
    quota = {"metadata": {"name": "small"}, "spec": {"hard": hard}}
    assert any(said in fault for fault in found({**sound(), ("resourcequotas", "small"): quota}))


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"type": "Container", "max": {"cpu": "1"}}, "at most cpu 1, a trial wants 2"),
        ({"type": "Pod", "max": {"memory": "2Gi"}}, "at most memory 2Gi, a trial wants 4Gi"),
        ({"type": "Container", "max": {"memory": "300Mi"}}, "the pod of the services wants 400Mi"),
        ({"type": "Container", "min": {"cpu": "3"}}, "at least cpu 3, a trial wants 2"),
    ],
)
def test_limit_ranges_are_compared(limit, said):
    item = {"metadata": {"name": "narrow"}, "spec": {"limits": [limit]}}
    assert any(said in fault for fault in found({**sound(), ("limitranges", "narrow"): item}))


def test_what_may_not_be_looked_at_has_a_question_mark():
    lines = said(sound(), hidden=("nodes", "experiments"))
    assert "? nodes: you may not look at it" in lines
    assert "? name: you may not look at it" in lines


def test_the_rights_that_the_end_needs_are_looked_at():
    (fault,) = found(sound(), denied=("trials/status", "secrets"))
    assert "may not patch trials/status, create secrets, delete secrets" in fault


def test_an_experiment_of_the_same_name_elsewhere_is_found():
    metadata = {"name": "toy", "namespace": "team2"}
    objects = {**sound(), ("experiments", "toy"): {"metadata": metadata}}
    assert any("namespace team2 has an experiment toy too" in fault for fault in found(objects))


@pytest.mark.parametrize(("looks", "is_fault"), [(3, False), (100, True)])
def test_a_controller_that_restarts_is_looked_at_again(looks, is_fault):
    objects, waited = sound(), []
    controller = objects["deployments", "katib-controller"]
    controller["status"]["readyReplicas"] = 0

    def sleep(seconds):
        waited.append(seconds)
        controller["status"]["readyReplicas"] = int(len(waited) >= looks)

    wrong = faults(examine(toy_experiment(), Objects(objects), sleep=sleep))
    assert any("katib-controller is not ready for 30 s" in w for w in wrong) == is_fault
    assert sum(waited) <= 30


def test_expired_credentials_are_the_only_finding():
    error = ClusterError("the cluster does not accept the credentials", status=401)
    (fault,) = found(sound(), error=error)
    assert "does not accept the credentials" in fault
