"""A pipeline that is terminated gets no chance to clean up; the services end what it has left.

Where they were away meanwhile, they take the old mark of the follower at its word.
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from hpo_pipeline.engines.katib.follow_mark import ABANDONED
from hpo_pipeline.engines.katib.names import EXPERIMENT_LABEL
from hpo_pipeline.engines.katib.trial_template import EXPERIMENT_POD_LABEL
from hpo_pipeline.engines.kubernetes.api import DEPLOYMENTS, EXPERIMENTS, JOBS, TRIALS
from hpo_pipeline.engines.kubernetes.conditions import has_condition
from hpo_pipeline.engines.kubernetes.names import JOB_LABEL
from tests.e2e.experiments import NAMESPACE, OURS, pods, running_trial_pods, wait_for

pytestmark = pytest.mark.e2e
SERVICES = "e2e-hpo-tpe"
LATE = 155
"""Seconds: longer than a follower may be silent."""


def follow(file, folder) -> subprocess.Popen:
    """Start the step `search` of the pipeline."""
    code = (
        "import sys; from hpo_pipeline.kubeflow import steps; "
        "steps.search(open(sys.argv[1]).read(), 'katib', sys.argv[2])"
    )
    return subprocess.Popen([sys.executable, "-c", code, file, folder / "run"])


def scale(api, replicas):
    api.patch(DEPLOYMENTS, NAMESPACE, SERVICES, {"spec": {"replicas": replicas}})


def services(api):
    return [
        pod["status"].get("phase") for pod in pods(api, f"katib.kubeflow.org/deployment={SERVICES}")
    ]


def is_idle(api):
    found = pods(api, f"{OURS},{JOB_LABEL}")
    jobs = api.list(JOBS, NAMESPACE, labels=f"{EXPERIMENT_POD_LABEL}=e2e")["items"]
    alive = [pod for pod in found if pod["status"].get("phase") in ("Pending", "Running")]
    return not alive and all(has_condition(job, "Complete") for job in jobs)


def count(api):
    return len(api.list(TRIALS, NAMESPACE, labels=f"{EXPERIMENT_LABEL}=e2e")["items"])


@pytest.mark.parametrize("late", [0, LATE])
def test_nothing_of_a_terminated_pipeline_runs_five_minutes_later(
    api, clean, write, tmp_path, late
):
    file = write(budget="{trials: 8, parallel: 1}", epochs=3000)
    with follow(file, tmp_path) as follower:
        wait_for(lambda: running_trial_pods(api))
        if late:
            scale(api, 0)
            wait_for(lambda: not services(api))
        follower.kill()
    killed, before = time.monotonic(), count(api)
    if late:
        time.sleep(late)
        scale(api, 1)
    wait_for(lambda: is_idle(api), 300 - (time.monotonic() - killed))
    time.sleep(30)
    assert is_idle(api)
    assert count(api) == before
    (condition,) = (
        condition
        for condition in api.get(EXPERIMENTS, NAMESPACE, "e2e")["status"]["conditions"]
        if condition["type"] == "Succeeded"
    )
    assert ABANDONED in condition["message"]


def test_a_follower_that_lives_goes_on_with_services_that_start_late(api, clean, write, tmp_path):
    with follow(write(budget="{trials: 3, parallel: 1}"), tmp_path) as follower:
        wait_for(lambda: running_trial_pods(api))
        scale(api, 0)
        time.sleep(LATE)
        scale(api, 1)
        assert follower.wait(600) == 0
    assert count(api) == 3
