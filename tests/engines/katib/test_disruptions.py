"""Jobs that Kubernetes lets wait after disruptions are made anew; no others are touched."""

from datetime import UTC, datetime, timedelta

import pytest

from hpo_pipeline.engines.katib.services.disruptions import Disruptions, waits_after_disruptions
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from hpo_pipeline.errors import ClusterError


class Namespace:
    """The pods of the trial toy-0000, one after the other, its job, and a clock."""

    def __init__(self, job=None):
        self.job = {"metadata": {"name": "toy-0000"}, "spec": {}, "status": {}} | (job or {})
        self.pods = []
        self.made = 0
        self.deleted = []
        self.error = None
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.disruptions = Disruptions(self, "hpo", "toy", now=lambda: self.now)

    def list(self, kind, namespace, *, labels):
        if self.error is not None:
            raise self.error
        return {"items": self.pods}

    def get(self, kind, namespace, name):
        return self.job

    def delete(self, kind, namespace, name):
        self.deleted.append(name)

    def lose_pods(self, count):
        """Show a running pod and take it away, so many times."""
        for _ in range(count):
            self.made += 1
            labels = {JOB_LABEL: "toy-0000"}
            metadata = {"name": f"toy-0000-{self.made}", "uid": str(self.made), "labels": labels}
            self.pods = [{"metadata": metadata, "status": {"phase": "Running"}}]
            self.after(5)
        self.pods = []
        return self

    def after(self, *pauses):
        for seconds in pauses:
            self.now += timedelta(seconds=seconds)
            self.disruptions.check()
        return self.deleted


def test_a_trial_that_waits_longer_than_the_first_pause_gets_a_new_job():
    namespace = Namespace().lose_pods(1)
    assert namespace.after(3, 3, 3, 3) == []
    assert namespace.after(3) == ["toy-0000"]
    assert namespace.after(3, 3, 3, 3, 3) == ["toy-0000"]  # the new job has lost no pod yet


def test_the_first_pause_is_left_to_kubernetes():
    namespace = Namespace()
    for _ in range(5):
        assert namespace.lose_pods(1).after(3, 3, 3, 2) == []


def test_an_evicted_pod_that_is_still_shown_is_no_pod():
    namespace = Namespace().lose_pods(1)
    labels = {JOB_LABEL: "toy-0000"}
    namespace.pods = [{"metadata": {"uid": "2", "labels": labels}, "status": {"phase": "Failed"}}]
    assert namespace.after(3, 3, 3, 3, 3) == ["toy-0000"]


@pytest.mark.parametrize(
    "job",
    [
        {"status": {"failed": 1}},  # it was killed once without a disruption
        {"status": {"active": 1}},
        {"status": {"terminating": 1}},
        {"status": {"uncountedTerminatedPods": {"failed": ["3"]}}},
        {"status": {"conditions": [{"type": "Complete", "status": "True"}]}},
        {"status": {"conditions": [{"type": "FailureTarget", "status": "True"}]}},
        {"spec": {"suspend": True}},  # a queue holds it
        {"metadata": {"name": "toy-0000", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ],
)
def test_other_jobs_are_left_alone(job):
    assert Namespace(job).lose_pods(2).after(5, 5, 5, 5) == []


def test_a_job_that_is_over_is_looked_at_once():
    namespace = Namespace({"status": {"conditions": [{"type": "Failed", "status": "True"}]}})
    namespace.lose_pods(1).after(3, 3, 3, 3, 3)
    namespace.job = {"metadata": {}}  # it would be made anew if it were looked at again
    namespace.pods = [
        {"metadata": {"labels": {JOB_LABEL: "toy-0000"}}, "status": {"phase": "Failed"}}
    ]
    assert namespace.after(*[3] * 10) == []


def test_a_job_that_waits_is_known():
    assert waits_after_disruptions({"metadata": {}, "status": {"ready": 0}})


def test_a_role_of_an_earlier_version_changes_nothing(caplog):
    namespace = Namespace()
    namespace.error = ClusterError("pods is forbidden", status=403)
    assert namespace.after(5, 5) == []
    assert caplog.text.count("apply manifests/base again") == 1
