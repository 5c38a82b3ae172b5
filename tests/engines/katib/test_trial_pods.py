"""A trial speaks for itself only: the pod that calls must be its own."""

import pytest

from hpo_pipeline.engines.katib.services.admission import Admission
from hpo_pipeline.engines.katib.services.serving import NotAllowed, NotNow
from hpo_pipeline.engines.katib.services.trial_pods import TrialPods, address_of
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.errors import ClusterError
from tests.engines.katib.toy_objects import Toys


class Pods:
    """A namespace with the pods of trials, by their addresses."""

    def __init__(self, addresses=()):
        self.addresses = dict(addresses)
        self.phase = "Running"
        self.listed = 0
        self.error = None
        self.now = 0.0

    def pods(self):
        return TrialPods(self, "hpo", clock=lambda: self.now)

    def list(self, kind, namespace, *, labels):
        assert labels.startswith("hpo-pipeline/experiment=toy,")
        self.listed += 1
        if self.error is not None:
            raise self.error
        return {
            "items": [
                {
                    "metadata": {"labels": {JOB_LABEL: name}},
                    "status": {"phase": self.phase, "podIPs": [{"ip": ip}]},
                }
                for ip, name in self.addresses.items()
            ]
        }


def test_a_pod_speaks_for_its_own_trial_only():
    pods = Pods({"10.0.0.1": "toy-0000", "10.0.0.2": "toy-0001"})
    trials = pods.pods()
    trials.require("toy", "toy-0000", "ipv4:10.0.0.1:4711")
    with pytest.raises(NotAllowed, match="toy-0001 may not speak for toy-0000"):
        trials.require("toy", "toy-0000", "ipv4:10.0.0.2:4711")


def test_a_pod_that_was_made_anew_is_found():
    pods = Pods({"10.0.0.1": "toy-0000"})
    trials = pods.pods()
    trials.require("toy", "toy-0000", "ipv4:10.0.0.1:1")
    pods.addresses = {"10.0.0.9": "toy-0000"}
    with pytest.raises(NotNow, match=r"10\.0\.0\.9"):
        trials.require("toy", "toy-0000", "ipv4:10.0.0.9:1")  # listed just now; ask again soon
    pods.now = 2.0
    trials.require("toy", "toy-0000", "ipv4:10.0.0.9:1")
    assert pods.listed == 2


def test_addresses_that_a_network_hides_are_no_reason_to_refuse():
    pods = Pods({"10.0.0.1": "toy-0000"})
    trials = pods.pods()
    trials.require("toy", "toy-0000", "ipv4:192.168.0.1:1")
    pods.now = 2.0
    trials.require("toy", "toy-0000", "ipv4:10.0.0.1:1")  # they are real here after all
    with pytest.raises(NotNow):
        trials.require("toy", "toy-0000", "ipv4:192.168.0.1:1")


def test_pods_that_have_ended_have_no_address():
    pods = Pods({"10.0.0.1": "toy-0001"})
    pods.phase = "Failed"
    pods.pods().require("toy", "toy-0000", "ipv4:10.0.0.1:1")


def test_a_role_of_an_earlier_version_leaves_it_to_the_token():
    pods = Pods()
    pods.error = ClusterError("pods is forbidden", status=403)
    trials = pods.pods()
    for _ in range(2):
        pods.now += 5
        trials.require("toy", "toy-0000", "ipv4:10.0.0.1:1")
    assert pods.listed == 1


def test_the_right_token_does_not_help_the_pod_of_another_trial():
    cluster = Toys("right")
    cluster.list = Pods({"10.0.0.2": "toy-0001"}).list
    admission = Admission(cluster, "hpo")
    admission.trial("toy", "toy-0001", "right", "ipv4:10.0.0.2:1")
    with pytest.raises(NotAllowed, match="may not speak for"):
        admission.trial("toy", "toy-0000", "right", "ipv4:10.0.0.2:1")


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.7:41234", "10.0.0.7"),
        ("ipv6:%5B::ffff:10.0.0.7%5D:41234", "10.0.0.7"),
        ("ipv6:%5Bfd00:0::7%5D:41234", "fd00::7"),
        ("unix:/tmp/socket", ""),
        ("nonsense", ""),
    ],
)
def test_the_address_in_a_peer(peer, address):
    assert address_of(peer) == address
