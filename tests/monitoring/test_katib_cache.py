"""The exporter of a cluster: what Katib's objects become, and that a scrape asks nobody."""

from __future__ import annotations

import time

import pytest

from hpo_pipeline.monitoring import katib_cache
from hpo_pipeline.monitoring.collector import registry_of
from hpo_pipeline.monitoring.katib_cache import KatibCache
from tests.monitoring.katib_objects import ListedApi, experiment, pod, trial

TOY = {"namespace": "hpo", "experiment": "toy"}


@pytest.fixture
def follow():
    """Return a function that follows an API until it was listed."""
    opened = []

    def start(api, *, until=KatibCache.is_ready):
        cache = KatibCache(api, "")
        opened.append((cache, api))
        cache.start()
        wait(lambda: until(cache))
        return cache

    yield start
    for cache, api in opened:
        cache.stop()
        api.close()


def wait(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


TRIALS = [
    trial("toy-0", f1=0.8, latency_p95_ms=9.0),
    trial("toy-1", f1=0.9, latency_p95_ms=12.5, seconds=300),
    trial("toy-2", state="EarlyStopped", f1=0.1, seconds=50),
    trial("toy-3", state="Failed", seconds=30),
    trial("toy-4", state="Running"),
    trial("toy-5", state="Running"),
]
PODS = [pod("toy-1", waited=7), pod("toy-3", waited=2, killed="OOMKilled"), pod("toy-5")]


@pytest.fixture
def toy(follow):
    api = ListedApi(experiments=[experiment()], trials=TRIALS, pods=PODS)
    cache = follow(api, until=lambda c: c.is_ready() and c._feeds["pods"].listed.is_set())
    return registry_of(cache)


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("hpo_experiment_best_objective", {"objective": "f1"}, 0.9),
        ("hpo_experiment_best_metric", {"metric": "latency_p95_ms"}, 12.5),
        ("hpo_experiment_trials", {"state": "succeeded"}, 2),
        ("hpo_experiment_trials", {"state": "running"}, 1),
        ("hpo_experiment_trials", {"state": "waiting"}, 1),  # its pod has no node
        ("hpo_experiment_planned_trials", {}, 10),
        ("hpo_experiment_progress_ratio", {}, 0.4),
        ("hpo_experiment_first_trial_seconds", {}, 10),
        ("hpo_trial_failures_total", {"reason": "out_of_memory"}, 1),
        ("hpo_trial_duration_seconds_sum", {"state": "succeeded"}, 400),
        ("hpo_trial_duration_seconds_bucket", {"state": "succeeded", "le": "300.0"}, 2),
        ("hpo_trial_queue_seconds_sum", {}, 9),
        ("hpo_trial_gpu_seconds_total", {"state": "failed"}, 30),
        ("hpo_trial_cpu_seconds_total", {"state": "succeeded"}, 200),
        ("hpo_saved_gpu_seconds", {}, 150),  # 200 of a mean trial less 50
    ],
)
def test_what_is_exported(toy, name, labels, value):
    assert toy.get_sample_value(name, {**TOY, **labels}) == value


def test_the_goal_decides_which_trial_is_best(follow):
    api = ListedApi(experiments=[experiment(goal="minimize")], trials=TRIALS)
    registry = registry_of(follow(api))
    labels = {**TOY, "objective": "f1"}
    assert registry.get_sample_value("hpo_experiment_best_objective", labels) == 0.1


def test_a_scrape_sends_no_request(follow, monkeypatch):
    monkeypatch.setattr(katib_cache, "PAGE", 4)
    api = ListedApi(experiments=[experiment()], trials=TRIALS)
    registry = registry_of(follow(api))
    wait(lambda: api.requests == 1 + 2 + 1 + 3)  # pages of experiments, trials, pods; watches
    assert registry.get_sample_value("hpo_experiments", {"state": "running"}) == 1
    assert api.requests == 7


def test_news_and_deletions_are_followed(follow):
    api = ListedApi(experiments=[experiment(), experiment("old")], trials=TRIALS[:2])
    api.news = {
        "trials": [("ADDED", trial("toy-9", f1=0.95)), ("DELETED", trial("toy-0"))],
        "experiments": [("DELETED", experiment("old")), ("MODIFIED", experiment(ended="Failed"))],
    }
    registry = registry_of(follow(api))
    best = lambda: registry.get_sample_value(  # noqa: E731
        "hpo_experiment_best_objective", {**TOY, "objective": "f1"}
    )
    wait(lambda: best() == 0.95)
    wait(lambda: registry.get_sample_value("hpo_experiments", {"state": "failed"}) == 1)
    assert registry.get_sample_value("hpo_experiments", {"state": "running"}) == 0
    assert registry.get_sample_value("hpo_experiment_duration_seconds", TOY) == 7200
    assert registry.get_sample_value("hpo_experiment_trials", {**TOY, "state": "succeeded"}) == 2


def test_who_may_not_list_is_told(follow):
    api = ListedApi(refused=["trials", "pods"])
    cache = follow(api, until=lambda cache: cache.fault is not None)
    assert "trials is forbidden" in str(cache.fault)
    assert not cache.is_ready()


def test_pods_are_not_needed(follow):
    api = ListedApi(experiments=[experiment()], trials=TRIALS, refused=["pods"])
    cache = follow(api)
    wait(lambda: not cache._feeds["pods"].is_alive())
    registry = registry_of(cache)
    assert cache.fault is None
    assert registry.get_sample_value("hpo_source_up", {"source": "pods"}) == 0
    assert registry.get_sample_value("hpo_source_up", {"source": "trials"}) == 1
    assert registry.get_sample_value("hpo_trial_queue_seconds_count", TOY) is None


@pytest.mark.filterwarnings("default")
def test_an_object_that_is_not_as_katib_writes_it_is_left_out(follow):
    strange = {"metadata": {"name": "x", "namespace": "hpo", "creationTimestamp": "never"}}
    api = ListedApi(experiments=[experiment(), strange], trials=[strange, *TRIALS])
    registry = registry_of(follow(api))
    assert registry.get_sample_value("hpo_experiments", {"state": "running"}) == 1
