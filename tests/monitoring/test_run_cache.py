"""Run folders as the exporter and the live page read them."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.monitoring import cached_run
from hpo_pipeline.monitoring.cached_run import CachedRun, log_tail
from hpo_pipeline.monitoring.collector import registry_of
from hpo_pipeline.monitoring.run_cache import RunCache
from hpo_pipeline.results.run_folder import RunFolder
from tests.toys import toy_experiment, toy_trial


def make_run(path, *, trials=3, state="succeeded"):
    folder = RunFolder(path)
    with folder.locked():
        folder.adopt(toy_experiment())
        for number in range(trials):
            folder.record(toy_trial(number, accuracy=0.5 + number / 10))
        folder.update(state=state, seconds=60.0)
    return folder


def test_runs_are_read_again_only_where_they_changed(tmp_path):
    folder, cache = make_run(tmp_path / "toy"), RunCache(tmp_path)
    first = cache.view("toy")
    folder.record(toy_trial(3, accuracy=0.9))
    second = cache.view("toy")
    assert [len(first.trials), len(second.trials)] == [3, 4]
    assert second.trials[0] is first.trials[0]
    assert second.experiment is first.experiment


def test_a_run_that_is_over_is_the_same_until_its_files_change(tmp_path):
    folder, cache = make_run(tmp_path / "toy"), RunCache(tmp_path)
    first = cache.view("toy")
    assert cache.view("toy") is first
    with folder.locked():
        assert cache.view("toy") is not first  # somebody has taken it up again
    folder.update(reason="said later")
    assert cache.view("toy").state.reason == "said later"


def test_results_of_old_trials_are_looked_at_again_after_a_while(tmp_path, monkeypatch):
    folder, cache = make_run(tmp_path / "toy", state="running"), RunCache(tmp_path)
    result = folder.trial("toy-0") / "result.json"
    monkeypatch.setattr(cached_run, "SETTLED", -1.0)
    with folder.locked():
        assert cache.view("toy").trials[0].metrics["accuracy"] == 0.5
        folder.record(toy_trial(0, accuracy=0.1))
        os.utime(result, (1, 1))
        assert cache.view("toy").trials[0].metrics["accuracy"] == 0.5
        monkeypatch.setattr(cached_run, "LOOK_AGAIN", 0.0)
        assert cache.view("toy").trials[0].metrics["accuracy"] == 0.1


def test_a_run_that_takes_long_to_read_does_not_keep_the_others_waiting(tmp_path, monkeypatch):
    for name in ("large", "small"):
        make_run(tmp_path / name)
    os.utime(tmp_path / "large" / "run.json", (1, 1))  # so it is read last
    may_go_on, read = threading.Event(), CachedRun.view

    def slow(run):
        if run._name == "large":
            may_go_on.wait(60)
        return read(run)

    monkeypatch.setattr(CachedRun, "view", slow)
    cache = RunCache(tmp_path)
    views, unread = cache.views_within(1.0)
    assert ([view.name for view in views], unread) == (["small"], 1)
    may_go_on.set()
    views, unread = cache.views_within(60.0)
    assert ([view.name for view in views], unread) == (["small", "large"], 0)


def test_a_folder_that_is_a_run(tmp_path):
    make_run(tmp_path)
    cache = RunCache(tmp_path)
    assert cache.names() == ["."]
    assert cache.view(".").status == "succeeded"


def test_a_run_that_vanishes_or_is_damaged_is_left_out(tmp_path):
    cache = RunCache(tmp_path)
    damaged = make_run(tmp_path / "damaged")
    make_run(tmp_path / "gone")
    make_run(tmp_path / "toy")
    assert len(list(cache.views())) == 3
    damaged.run_file.write_text("{")
    shutil.rmtree(tmp_path / "gone")
    assert [view.name for view in cache.views()] == ["toy"]
    assert cache.view("gone") is None
    assert cache.view("../toy") is None


def test_a_running_trial_has_the_curve_of_its_log(tmp_path):
    folder = make_run(tmp_path / "toy", state="running")
    place = folder.trial("toy-3")
    place.mkdir()
    (place / "log.txt").write_text("loading\n")
    cache = RunCache(tmp_path)
    with folder.locked():
        assert cache.view("toy").trials[-1].curve == ()
        assert cache.view("toy").status == "running"
    assert cache.view("toy").status == "interrupted"
    assert len(cache.view("toy").trials) == 3  # nothing runs any more


def test_runs_as_metrics(tmp_path):
    make_run(tmp_path / "toy")
    registry = registry_of(RunCache(tmp_path))
    labels = {"namespace": "", "experiment": "toy", "objective": "accuracy"}
    assert registry.get_sample_value("hpo_experiment_best_objective", labels) == 0.7
    assert registry.get_sample_value("hpo_experiments", {"state": "succeeded"}) == 1


def test_the_cost_of_a_run_with_prices(tmp_path):
    folder = RunFolder(tmp_path / "toy")
    with folder.locked():
        folder.adopt(toy_experiment(prices={"cpu_hour": 0.5}))
        trial = toy_trial(0, accuracy=0.5)
        environment = {"device": "CPU", "threads": "4"}
        folder.record(replace(trial, seconds={"train": 1800.0}, environment=environment))
        folder.update(state="succeeded", seconds=60.0)
    registry = registry_of(RunCache(tmp_path))
    labels = {"namespace": "", "experiment": "toy"}
    assert registry.get_sample_value("hpo_experiment_cost", labels) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("most", "shown"), [(100, "one\ntwo\nthree\n"), (8, "three\n"), (3, "ee\n")]
)
def test_the_end_of_a_log(tmp_path, most, shown):
    (tmp_path / "log.txt").write_text("one\ntwo\nthree\n")
    assert log_tail(tmp_path / "log.txt", most=most) == shown


def test_the_exporter_needs_a_folder_that_exists(tmp_path, capsys):
    assert main(["exporter", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_port_must_be_one(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["exporter", "--port", "70000"])
    assert "0 to 65535" in capsys.readouterr().err
