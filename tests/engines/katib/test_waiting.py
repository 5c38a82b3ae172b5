"""Trials that do not start: the reason is told, and where none can start, the search ends."""

from datetime import UTC, datetime, timedelta

import pytest

from hpo_pipeline.engines.katib.view import ExperimentView
from hpo_pipeline.engines.katib.waiting import Waiting
from hpo_pipeline.engines.kubernetes.podless import last_refusals
from hpo_pipeline.errors import ClusterError
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_experiment

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOO_LARGE = "maximum cpu usage per Container is 1, but limit is 2"


def refusal(job, reason, at="2026-01-01T11:59:00Z"):
    message = f'Error creating: pods "{job}-x" is forbidden: {reason}'
    involved = {"kind": "Job", "name": job}
    event = {"reason": "FailedCreate", "message": message, "lastTimestamp": at}
    return {**event, "involvedObject": involved}


class Events:
    """A cluster that has events, or keeps them from us."""

    def __init__(self, *events):
        self.events = list(events)

    def list(self, kind, namespace, *, labels="", fields=""):
        if not self.events:
            raise ClusterError("forbidden", status=403)
        return {"items": self.events}


def waiting(*events, trials=("toy-0000",), seconds=90):
    api = Events(*events)
    view = ExperimentView(toy_experiment(), api)
    time = (NOW - timedelta(seconds=seconds)).isoformat()
    for name in trials:
        metadata = {"name": name, "creationTimestamp": time}
        view.items[name] = {"metadata": metadata, "status": {}}
    return Waiting(view, api, "hpo")


def test_a_trial_without_a_pod_is_explained_by_the_last_event_of_its_job():
    events = [refusal("toy-0000", TOO_LARGE), refusal("toy-0000", "old", "2026-01-01T10:00:00Z")]
    found = waiting(*events).overdue(NOW)
    assert found == {"toy-0000": f'pods "toy-0000-x" is forbidden: {TOO_LARGE}'}


def test_a_trial_that_was_just_created_is_given_some_time():
    assert waiting(refusal("toy-0000", TOO_LARGE), seconds=15).overdue(NOW) == {}


def test_where_events_may_not_be_read_nothing_is_said():
    assert waiting().overdue(NOW) == {}


@pytest.mark.parametrize(
    ("reasons", "seconds", "ends"),
    [
        ([TOO_LARGE, TOO_LARGE], 90, True),
        ([TOO_LARGE, TOO_LARGE], 50, False),
        ([TOO_LARGE], 90, False),
        (["exceeded quota: q, requested: cpu=2, used: cpu=1, limited: cpu=2"] * 2, 90, False),
        (["exceeded quota: q, requested: cpu=2, used: cpu=0, limited: cpu=700m"] * 2, 90, True),
    ],
)
def test_the_search_ends_where_no_trial_can_ever_start(reasons, seconds, ends):
    names = ["toy-0000", "toy-0001"]
    events = [refusal(name, reason) for name, reason in zip(names, reasons, strict=False)]
    found = waiting(*events, trials=names, seconds=seconds)
    found.overdue(NOW)
    assert (found.in_vain(NOW) is not None) == ends


def test_events_of_other_objects_are_left_out():
    other = {**refusal("toy-0000", "x"), "involvedObject": {"kind": "Pod", "name": "toy-0000"}}
    assert last_refusals([other]) == {}


@pytest.mark.parametrize(
    ("pods", "state"),
    [
        ({}, TrialState.WAITING),
        ({"toy-0000": {"status": {"phase": "Pending"}}}, TrialState.WAITING),
        ({"toy-0000": {"status": {"phase": "Running"}}}, TrialState.RUNNING),
        (None, TrialState.RUNNING),  # nobody follows the pods: it is as Katib says
    ],
)
def test_a_trial_starts_with_its_pod(pods, state):
    view = ExperimentView(toy_experiment(), Events())
    metadata = {"name": "toy-0000", "creationTimestamp": NOW.isoformat()}
    running = {"conditions": [{"type": "Running", "status": "True"}]}
    assignments = {"parameterAssignments": [{"name": "learning_rate", "value": "0.01"}]}
    view.items["toy-0000"] = {"metadata": metadata, "spec": assignments, "status": running}
    view.are_pods_followed, view.pods = pods is not None, pods or {}
    (trial,) = view.trials()
    assert trial.state is state
