"""Why trials fail or do not start, from pods as a real cluster had them."""

import pytest

from hpo_pipeline.engines.kubernetes.diagnosis import (
    failure_cause,
    is_waiting_in_vain,
    pending_cause,
)


def pod(status, **limits):
    container = {"name": "trial", "image": "hpo-trial:dev", "resources": {"limits": limits}}
    return {
        "metadata": {"name": "toy-0000-x"},
        "spec": {"containers": [container]},
        "status": status,
    }


def ended(code, message="", reason="Error"):
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return {"phase": "Failed", "containerStatuses": [{"name": "trial", "state": state}]}


def waiting(reason, message=""):
    state = {"waiting": {"reason": reason, "message": message}}
    found = {"name": "trial", "image": "hpo-trial:dev", "state": state}
    return {"phase": "Pending", "containerStatuses": [found]}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (ended(137, reason="OOMKilled"), "for lack of memory; the limit is 1Gi"),
        (ended(137), "it was killed (SIGKILL)"),
        (ended(143), "its pod may have been deleted"),
        (
            ended(1, "x\nthe trial failed: the training loss is nan at step 3"),
            "the training loss is",
        ),
        (ended(2, "ModuleNotFoundError: No module named 'x'"), "exit code 2: ModuleNotFoundError"),
        (
            ended(
                2, "/etc/hpo/experiment.yaml: 1 fault\n  - baseline: unknown key; allowed are name"
            ),
            "has another version of hpo, which does not know baseline",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "evicted"),
        (waiting("ImagePullBackOff", "not found"), "the image cannot be pulled (hpo-trial:dev)"),
    ],
)
def test_a_failure_is_explained(status, said):
    assert said in failure_cause(pod(status, memory="1Gi"), "Job failed")


def test_without_a_pod_katibs_word_remains():
    assert failure_cause(None, "Job has reached the specified backoff limit").startswith("Job has")


def test_an_unschedulable_pod_says_why():
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    }
    found = pod({"phase": "Pending", "conditions": [condition]})
    assert "Insufficient nvidia.com/gpu" in (pending_cause(found) or "")
    assert not is_waiting_in_vain(found)


def test_a_running_pod_waits_for_nothing():
    assert pending_cause(pod({"phase": "Running"})) is None
