"""Run folders as the exporter and the live page read them."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.monitoring.collector import registry_of
from hpo_pipeline.monitoring.run_cache import RunCache, log_tail
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
