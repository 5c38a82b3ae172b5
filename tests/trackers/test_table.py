"""The table of trackers, and how an experiment names them."""

from __future__ import annotations

import os
import typing

import pytest

from hpo_pipeline.engines import RunContext
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.track import TrackerName
from hpo_pipeline.flow.launch import launch
from hpo_pipeline.flow.tracking import trackers_in_pipeline
from hpo_pipeline.reports.terminal.silence import Silence
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.trackers import TRACKERS, module_of
from tests.engines.test_local import Lines
from tests.toys import faults_of, toy_experiment

OF_PIPELINE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000", "MLFLOW_RUN_ID": "a" * 32}


def context(tmp_path, progress=None, **sections):
    folder = RunFolder(tmp_path / "run")
    return RunContext(toy_experiment(**sections), folder, progress or Silence())


def test_the_schema_and_the_table_name_the_same():
    assert typing.get_args(TrackerName) == tuple(TRACKERS)


@pytest.mark.parametrize("name", TRACKERS)
def test_every_module_says_what_is_wrong(name):
    assert all(isinstance(text, str) for text in module_of(name).faults({}))


def test_wrong_names_are_faults_of_the_file(tmp_path):
    (wrong,) = faults_of(tmp_path, track="[mlfow]")
    assert wrong == "track.0: input should be 'mlflow', 'tensorboard' or 'wandb', got 'mlfow'"
    (wrong,) = faults_of(tmp_path, track="[wandb, wandb]")
    assert wrong.startswith("track: must name each tracker once")


def test_a_tracker_that_cannot_work_is_said_before_the_run(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ExperimentError, match="track: mlflow: "):
        launch("local", context(tmp_path, track=["mlflow"]))
    assert not (tmp_path / "run" / "experiment.json").exists()


def test_trackers_change_nothing_of_the_trials(tmp_path):
    assert toy_experiment(track=["mlflow"]).identity() == toy_experiment().identity()


def test_a_pipeline_with_mlflow_is_tracked_by_itself(tmp_path):
    pytest.importorskip("mlflow")
    environ = {"HOME": str(tmp_path), **OF_PIPELINE}
    assert trackers_in_pipeline(context(tmp_path), environ) == ("mlflow",)
    assert trackers_in_pipeline(context(tmp_path), {}) == ()
    both = context(tmp_path, track=["mlflow", "tensorboard"])
    assert trackers_in_pipeline(both, environ) == ("mlflow", "tensorboard")


def test_a_pipeline_whose_mlflow_cannot_be_used_runs_without(tmp_path):
    lines = Lines()
    environ = {"HOME": str(tmp_path), **OF_PIPELINE, "MLFLOW_TRACKING_URI": "databricks"}
    assert trackers_in_pipeline(context(tmp_path, lines), environ) == ()
    assert "the pipeline has an MLflow server, but track: mlflow: " in lines.lines[0]


def test_no_client_is_loaded_beside_the_search(tmp_path):
    import subprocess
    import sys

    code = (
        "import hpo_pipeline.flow.launch, sys;"
        "print(*({'mlflow', 'wandb', 'tensorboard'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == ""
