"""The dead man's switch of pipelines: marks of experiments and leases of jobs, by a fake clock."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from hpo_pipeline.engines.katib.follow_mark import ABANDONED, Renewal, Silence, mark_of, new_mark
from hpo_pipeline.engines.katib.names import STOP_ANNOTATION
from hpo_pipeline.engines.katib.reattachment import stop_reason
from hpo_pipeline.engines.katib.services.ending import Ending
from hpo_pipeline.engines.katib.status import ended_status, is_complete
from hpo_pipeline.engines.kubernetes.api import EXPERIMENTS, JOBS, TRIALS
from hpo_pipeline.engines.kubernetes.lease import LEASE_SECONDS, Leases, with_lease
from hpo_pipeline.errors import ClusterError

START = datetime(2026, 11, 26, 12, tzinfo=UTC)
NAME = "digits-1a2b"


class Objects:
    """The objects of a namespace, a clock, and Kubernetes' own rule for the deadlines of jobs."""

    def __init__(self):
        self.now = START
        self.items: dict[tuple[str, str], dict] = {}
        self.patches = 0
        self.refuses: ClusterError | None = None

    def create(self, kind, namespace, body):
        body["metadata"].setdefault("creationTimestamp", self.now.isoformat())
        body["metadata"]["resourceVersion"] = "1"
        if kind == JOBS:
            body["status"] = {"startTime": self.now.isoformat()}
        self.items[kind.plural, body["metadata"]["name"]] = body
        return body

    def get(self, kind, namespace, name):
        if self.refuses:
            raise self.refuses
        if (kind.plural, name) not in self.items:
            raise ClusterError("not found", status=404)
        return self.items[kind.plural, name]

    def list(self, kind, namespace, *, labels=""):
        return {
            "items": [item for (plural, _), item in self.items.items() if plural == kind.plural]
        }

    def patch(self, kind, namespace, name, change, *, subresource=""):
        item = self.get(kind, namespace, name)
        self.patches += 1
        for part, entries in change.items():
            for entry, value in entries.items():
                old = item.setdefault(part, {}).get(entry)
                item[part][entry] = {**old, **value} if isinstance(old, dict) else value
        return item

    def delete(self, kind, namespace, name):
        del self.items[kind.plural, self.get(kind, namespace, name)["metadata"]["name"]]

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for (plural, name), job in list(self.items.items()):
            deadline = job.get("spec", {}).get("activeDeadlineSeconds")
            if plural == JOBS.plural and deadline is not None:
                begun = datetime.fromisoformat(job["status"]["startTime"])
                if (self.now - begun).total_seconds() >= deadline:
                    del self.items[plural, name]


@pytest.fixture
def objects():
    return Objects()


def experiment(*, followed: bool) -> dict:
    notes = new_mark(START) if followed else {}
    return {"metadata": {"name": NAME, "annotations": notes}, "status": {"conditions": []}}


def trial(number: int) -> dict:
    running = {"type": "Running", "status": "True"}
    labels = {"katib.kubeflow.org/experiment": NAME}
    return {
        "metadata": {"name": f"{NAME}-{number:04d}", "labels": labels},
        "status": {"conditions": [running]},
    }


def services(objects: Objects) -> Ending:
    return Ending(objects, "hpo", NAME, now=lambda: objects.now)


def follower(objects: Objects) -> Renewal:
    return Renewal(objects, "hpo", NAME, now=lambda: objects.now)


def test_a_followed_experiment_is_left_alone_for_hours(objects):
    objects.create(EXPERIMENTS, "hpo", experiment(followed=True))
    ending, renewal = services(objects), follower(objects)
    for _ in range(3600):
        renewal.renew(objects.get(EXPERIMENTS, "hpo", NAME))
        ending.check()
        objects.pass_time(5)
    assert ending.reason is None
    assert objects.patches <= 5 * 3600 / 30 + 1


def test_an_experiment_without_a_mark_needs_no_follower(objects):
    objects.create(EXPERIMENTS, "hpo", experiment(followed=False))
    objects.create(TRIALS, "hpo", trial(0))
    ending, renewal = services(objects), follower(objects)
    renewal.renew(objects.get(EXPERIMENTS, "hpo", NAME))
    for _ in range(1000):
        ending.check()
        objects.pass_time(5)
    assert ending.reason is None
    assert objects.patches == 0


def test_twenty_terminated_pipelines_leave_nothing_that_runs_five_minutes_later():
    rng = random.Random(14)
    for _ in range(20):
        objects = Objects()
        objects.create(EXPERIMENTS, "hpo", experiment(followed=True))
        reports = {}  # a trial hears of the end at its next report; some never report again
        for i in range(rng.randint(1, 8)):
            name = f"{NAME}-{i:04d}"
            objects.create(TRIALS, "hpo", trial(i))
            objects.create(JOBS, "hpo", {"metadata": {"name": name}, "spec": {}})
            reports[name] = rng.choice([rng.uniform(1, 110), 1e6])
        job = {"metadata": {"name": f"{NAME}-gate"}, "spec": {}}
        objects.create(JOBS, "hpo", with_lease(job))
        terminated = START + timedelta(seconds=rng.uniform(0, 900))
        run(objects, reports, terminated, until=terminated + timedelta(minutes=5), rng=rng)
        assert all(is_complete(item) for item in objects.list(TRIALS, "hpo")["items"])
        assert objects.list(JOBS, "hpo")["items"] == []
        ended = objects.get(EXPERIMENTS, "hpo", NAME)
        assert is_complete(ended)
        assert ABANDONED in ended["status"]["conditions"][-1]["message"]


@pytest.mark.parametrize("late", [20, 100, 150, 180])
def test_services_that_start_after_the_termination_end_it_within_five_minutes(objects, late):
    objects.create(EXPERIMENTS, "hpo", experiment(followed=True))
    objects.create(TRIALS, "hpo", trial(0))
    objects.create(JOBS, "hpo", {"metadata": {"name": f"{NAME}-0000"}, "spec": {}})
    objects.pass_time(late)
    ending = services(objects)
    while objects.now < START + timedelta(minutes=5):
        ending.check()
        objects.pass_time(5)
    assert ending.reason == ABANDONED
    assert all(is_complete(item) for item in objects.list(TRIALS, "hpo")["items"])
    assert objects.list(JOBS, "hpo")["items"] == []


def test_services_that_find_an_old_mark_propose_nothing_until_it_is_renewed(objects):
    found = objects.create(EXPERIMENTS, "hpo", experiment(followed=True))
    objects.pass_time(600)  # the API server was away, or the clocks differ: the follower lives
    ending = services(objects)
    assert "renew" in ending.refuses_more()
    objects.pass_time(30)
    follower(objects).renew(found)
    for _ in range(40):
        ending.check()
        assert ending.refuses_more() is None
        objects.pass_time(3)


@pytest.mark.parametrize("mark", ["2126-01-01T00:00:00Z", "yesterday", ""])
def test_a_mark_without_a_time_of_the_past_has_a_whole_silence(mark):
    silence, now = Silence(), START
    for seconds in range(0, 150, 50):
        assert not silence.is_too_long(mark, now + timedelta(seconds=seconds))
    assert not silence.is_doubtful


def run(objects: Objects, reports, terminated: datetime, *, until: datetime, rng) -> None:
    """Let a pipeline follow until it is terminated, and the services look every five seconds."""
    ending, renewal = services(objects), follower(objects)
    leases = Leases(objects, "hpo", now=lambda: objects.now)
    due = dict.fromkeys(reports, START)
    while objects.now < until:
        if objects.now < terminated:
            renewal.renew(objects.get(EXPERIMENTS, "hpo", NAME))
            leases.renew(objects.list(JOBS, "hpo")["items"])
            assert objects.list(JOBS, "hpo")["items"]
            assert ending.reason is None
        for name, every in reports.items():
            if due[name] <= objects.now:
                due[name] = objects.now + timedelta(seconds=every)
                if ending.reason is not None:
                    status = objects.get(TRIALS, "hpo", name)["status"]
                    status["conditions"] = [{"type": "EarlyStopped", "status": "True"}]
                    objects.items.pop((JOBS.plural, name), None)
        ending.check()
        objects.pass_time(rng.uniform(3, 6))


def test_who_comes_back_hears_that_the_experiment_is_about_to_end():
    found = experiment(followed=True)
    assert stop_reason(found) is None
    found["metadata"]["annotations"][STOP_ANNOTATION] = "the run of the pipeline has ended"
    assert stop_reason(found) == "the run of the pipeline has ended"
    found["status"] = ended_status(found, "stopped: …", START)
    assert stop_reason(found) is None  # what Katib says about the end is shown anyway


def test_what_could_not_be_read_is_no_silence():
    silence, now = Silence(), START
    assert not silence.is_too_long("mark", now)
    now += timedelta(minutes=20)  # the API server was down; the follower could not write either
    assert not silence.is_too_long("mark", now)
    for _ in range(30):
        now += timedelta(seconds=5)
        assert not silence.is_too_long("mark", now)
    assert silence.is_too_long("mark", now + timedelta(seconds=5))


def test_a_mark_is_added_only_where_that_is_asked_for(objects):
    objects.create(EXPERIMENTS, "hpo", experiment(followed=False))
    follower(objects).renew(objects.get(EXPERIMENTS, "hpo", NAME), add=True)
    assert mark_of(objects.get(EXPERIMENTS, "hpo", NAME)) == "2026-11-26T12:00:00Z"


@pytest.mark.parametrize(("status", "is_raised"), [(403, True), (503, False), (0, False)])
def test_only_errors_that_stay_end_the_follower(objects, status, is_raised):
    found = objects.create(EXPERIMENTS, "hpo", experiment(followed=True))
    renewal = follower(objects)
    objects.refuses = ClusterError("refused", status=status)
    if is_raised:
        with pytest.raises(ClusterError):
            renewal.renew(found)
        return
    renewal.renew(found)
    objects.refuses = None
    objects.pass_time(1)
    renewal.renew(found)  # at once, not half a minute later
    assert mark_of(found) == "2026-11-26T12:00:01Z"


def test_a_job_without_a_lease_has_no_deadline(objects):
    job = {"metadata": {"name": "mine"}, "spec": {}}
    Leases(objects, "hpo").renew([objects.create(JOBS, "hpo", job)])
    assert objects.patches == 0


def test_a_lease_counts_from_the_start_of_the_job(objects):
    objects.create(JOBS, "hpo", with_lease({"metadata": {"name": "gate"}, "spec": {}}))
    objects.pass_time(200)
    leases = Leases(objects, "hpo", now=lambda: objects.now)
    for _ in range(2):  # the second comes too soon
        leases.renew(objects.list(JOBS, "hpo")["items"])
    assert objects.get(JOBS, "hpo", "gate")["spec"]["activeDeadlineSeconds"] == 200 + LEASE_SECONDS
    assert objects.patches == 1
