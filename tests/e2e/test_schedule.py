"""Schedules in a real Kubeflow Pipelines, which KFP_ENDPOINT names; nothing of them is left."""

import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
import yaml

from hpo_pipeline.cli.main import main as hpo
from hpo_pipeline.errors import PipelineError
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.schedule import recurring
from hpo_pipeline.kubeflow.schedule.cron import parse_cron
from hpo_pipeline.kubeflow.schedule.runs import group_id
from hpo_pipeline.kubeflow.schedule.state import named

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not os.environ.get("KFP_ENDPOINT"), reason="KFP_ENDPOINT is not set"),
]
FILE = str(Path(__file__).parents[2] / "experiments/digits.yaml")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory):
    """A pipeline of our parameters that does nothing, under a name of its own."""
    from kfp import compiler, dsl  # reads annotations as types: no `from __future__` above

    @dsl.component(base_image="hpo-pipeline:dev", install_kfp_package=False)
    def say(experiment: str) -> str:
        return experiment

    @dsl.pipeline(name="hpo-e2e")
    def tiny(
        experiment: str, engine: str = "", image: str = "", trials: int = 0, parallel: int = 0
    ):
        say(experiment=experiment)

    path = tmp_path_factory.mktemp("pipeline") / "tiny.yaml"
    compiler.Compiler().compile(tiny, str(path))
    name = f"hpo-e2e-{uuid.uuid4().hex[:6]}"
    assert hpo(["pipeline", "upload", str(path), "--name", name]) == 0
    assert hpo(["pipeline", "upload", str(path), "--name", name]) == 0
    yield name
    kfp = Kfp()
    (found,) = [row for row in kfp.pages("/pipelines", "pipelines") if row["display_name"] == name]
    for version in kfp.pages(f"/pipelines/{found['pipeline_id']}/versions", "pipeline_versions"):
        kfp.delete(f"/pipelines/{found['pipeline_id']}/versions/{version['pipeline_version_id']}")
    kfp.delete(f"/pipelines/{found['pipeline_id']}")


@pytest.fixture
def name():
    """A name for a schedule, which is removed in the end."""
    name = f"e2e-{uuid.uuid4().hex[:6]}"
    yield name
    if named(Kfp(), name):
        recurring.remove(Kfp(), name)


class Watch(threading.Thread):
    """Looks all the time how many schedules of a name are active."""

    def __init__(self, name: str):
        super().__init__(daemon=True)
        self.name_of_all, self.seen, self.is_over = name, [0], False

    def run(self) -> None:
        kfp = Kfp()
        while not self.is_over:
            self.seen.append(sum(run.is_on for run in named(kfp, self.name_of_all)))

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.is_over = True
        self.join()


def command(pipeline: str, name: str, *more: str) -> list[str]:
    fixed = [sys.executable, "-m", "hpo_pipeline", "schedule", "set", FILE, "--cron", "0 3 * * *"]
    return [*fixed, "--pipeline", pipeline, "--name", name, *more]


def test_created_applied_again_changed_paused_and_removed(pipeline, name):
    def said(*more: str) -> str:
        return subprocess.check_output(command(pipeline, name, *more), text=True).splitlines()[0]

    assert said() == f"{name}: created"
    assert said() == f"{name}: unchanged"
    assert said("--trials", "4") == f"{name}: replaced"
    recurring.pause(Kfp(), name)
    assert said("--trials", "4") == f"{name}: unchanged"
    (run,) = named(Kfp(), name)
    assert (run.is_on, run.is_paused) == (False, True)
    recurring.pause(Kfp(), name, paused=False)
    (run,) = named(Kfp(), name)
    assert (run.is_on, run.body["max_concurrency"], run.body["no_catchup"]) == (True, "1", True)
    assert run.body["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    text = run.body["runtime_config"]["parameters"]["experiment"]
    assert yaml.safe_load(text)["name"] == "digits"


def test_eight_processes_at_once_leave_one(pipeline, name):
    with Watch(name) as watch:
        started = [subprocess.Popen(command(pipeline, name)) for _ in range(8)]
        assert [process.wait() for process in started] == [0] * 8
    (run,) = named(Kfp(), name)
    assert run.is_on
    assert max(watch.seen) == 1


def test_killed_at_any_moment_and_given_again(pipeline, name):
    with Watch(name) as watch:
        for i in range(8):
            started = subprocess.Popen(command(pipeline, name, f"--trials={i + 2}"))
            time.sleep(0.35 + 0.03 * i)  # 0.3 s go into imports
            started.kill()
            started.wait()
        assert subprocess.call(command(pipeline, name, "--trials", "20")) == 0
    (run,) = named(Kfp(), name)
    assert run.is_on
    assert run.body["runtime_config"]["parameters"]["trials"] == 20
    assert max(watch.seen) == 1


def test_kfp_itself_takes_five_fields_for_six(pipeline, name):
    """Why no expression of five fields is ever sent, and none with a time zone."""
    kfp = Kfp()
    pipeline_id = next(
        row["pipeline_id"]
        for row in kfp.pages("/pipelines", "pipelines")
        if row["display_name"] == pipeline
    )
    body = {
        "display_name": name,
        "mode": "DISABLE",
        "max_concurrency": "1",
        "experiment_id": group_id(kfp, "digits"),
        "pipeline_version_reference": {"pipeline_id": pipeline_id},
        "runtime_config": {"parameters": {"experiment": "x"}},
    }
    kfp.post("/recurringruns", {**body, "trigger": {"cron_schedule": {"cron": "0 3 * * *"}}})
    assert len(named(kfp, name)) == 1
    zoned = f"TZ=Europe/Berlin {parse_cron('0 3 * * *').six}"
    with pytest.raises(PipelineError, match="Expected 5 to 6 fields, found 7"):
        kfp.post("/recurringruns", {**body, "trigger": {"cron_schedule": {"cron": zoned}}})
