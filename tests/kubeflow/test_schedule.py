"""Schedules in KFP: created, applied again, changed, paused, removed; by many at once; faults."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from hpo_pipeline.cli.main import main as hpo
from hpo_pipeline.errors import PipelineError
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.compiled import read_compiled
from hpo_pipeline.kubeflow.schedule import recurring
from hpo_pipeline.kubeflow.schedule.cron import parse_cron
from hpo_pipeline.kubeflow.upload import upload
from tests.kubeflow.fake_kfp import started_by
from tests.test_house import loaded_by

FILE = str(Path(__file__).parents[2] / "experiments/digits.yaml")
NIGHTLY = [FILE, "--cron", "0 3 * * *"]


def put(arguments: list[str]) -> int:
    return hpo(["schedule", "set", *arguments])


def only(kfp) -> dict[str, object]:
    (run,) = kfp.recurring
    return run


def test_a_schedule_keeps_no_backlog_and_runs_one_at_a_time(uploaded, capsys):
    assert put([*NIGHTLY, "--trials", "4"]) == 0
    run = only(uploaded)
    assert run["display_name"] == "retrain-digits"
    assert run["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (run["no_catchup"], run["max_concurrency"], run["mode"]) == (True, "1", "ENABLE")
    experiment = Path(FILE).read_text("utf-8")
    assert run["runtime_config"] == {"parameters": {"experiment": experiment, "trials": 4}}
    assert "pipeline_version_id" not in run["pipeline_version_reference"]  # always the latest
    said = capsys.readouterr().out
    assert "retrain-digits: created" in said
    assert "03:00 UTC" in said
    assert "0 0 3 * * * (second first), UTC" in said


def test_the_same_again_changes_nothing(uploaded, capsys):
    put(NIGHTLY)
    before = dict(only(uploaded))
    uploaded.calls.clear()
    assert put(NIGHTLY) == 0
    assert only(uploaded) == before
    # which changes nothing, and fails where the cluster has lost it
    assert uploaded.writes == [("POST", f"/recurringruns/{before['recurring_run_id']}:enable")]
    assert "unchanged" in capsys.readouterr().out


@pytest.mark.parametrize("change", [["--cron", "0 4 * * *"], ["--parallel", "3"]])
def test_a_changed_one_is_replaced_without_two_active(uploaded, capsys, change):
    put(NIGHTLY)
    first = only(uploaded)["recurring_run_id"]
    assert put([*NIGHTLY, *change]) == 0
    assert only(uploaded)["recurring_run_id"] != first
    assert uploaded.most_active == 1
    assert "replaced" in capsys.readouterr().out


def test_a_run_of_the_replaced_one_goes_on_and_is_named(uploaded, capsys):
    put(NIGHTLY)
    run = {"recurring_run_id": only(uploaded)["recurring_run_id"], "state": "RUNNING"}
    run |= {
        "display_name": "retrain-digitsab-1-7",
        "experiment_id": only(uploaded)["experiment_id"],
    }
    uploaded.tables["runs"]["r1"] = run
    put([*NIGHTLY, "--trials", "5"])
    assert "does not wait for it: retrain-digitsab-1-7" in capsys.readouterr().out
    assert uploaded.deletions == ["ORPHAN"]


@pytest.mark.parametrize("lost_at", range(1, 5))
def test_a_crash_in_between_leaves_at_most_one_and_is_repaired(uploaded, lost_at):
    put(NIGHTLY)
    writes = 0

    def cut(method: str, path: str) -> None:
        nonlocal writes
        writes += method != "GET"
        if (
            method != "GET" and writes == lost_at
        ):  # create, switch the old one off, delete it, switch on
            raise ConnectionAbortedError

    uploaded.before = cut
    assert put([*NIGHTLY, "--trials", "5"]) == 1
    uploaded.before = lambda method, path: None
    assert sum(run["mode"] == "ENABLE" for run in uploaded.recurring) <= 1
    assert put([*NIGHTLY, "--trials", "5"]) == 0
    assert only(uploaded)["mode"] == "ENABLE"
    assert only(uploaded)["runtime_config"]["parameters"]["trials"] == 5
    assert uploaded.most_active == 1


def test_killed_at_random_moments_one_is_left_in_the_end(uploaded):
    environ = {**os.environ, "KFP_ENDPOINT": uploaded.endpoint}
    rng = random.Random(4)
    for i in range(4):
        command = [sys.executable, "-m", "hpo_pipeline", "schedule", "set", *NIGHTLY]
        process = subprocess.Popen(
            [*command, f"--trials={i + 2}"], env=environ, stdout=subprocess.DEVNULL
        )
        until = len(uploaded.writes) + rng.randint(1, 3)
        while process.poll() is None and len(uploaded.writes) < until:
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert sum(run["mode"] == "ENABLE" for run in uploaded.recurring) <= 1
    assert put([*NIGHTLY, "--trials", "9"]) == 0
    assert only(uploaded)["mode"] == "ENABLE"
    assert uploaded.most_active == 1


@pytest.mark.parametrize("kinds", [1, 4])
def test_eight_at_once_leave_one(uploaded, kinds):
    pipeline = next(iter(uploaded.tables["pipelines"]))

    def apply(i: int) -> str:
        schedule = recurring.Schedule(
            "retrain-x", pipeline, "x", parse_cron("0 3 * * *"), "nightly", {"trials": i % kinds}
        )
        try:
            return recurring.apply(Kfp(uploaded.endpoint), schedule).change.value
        except PipelineError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(apply, range(8)))
    lost = [text for text in said if "another command is changing it" in text]
    assert len(lost) < 8 if kinds > 1 else lost == []  # where they disagree, one wins
    assert only(uploaded)["mode"] == "ENABLE"
    assert uploaded.most_active == 1


def test_a_pause_outlives_applying_it_again_and_changing_it(uploaded, capsys):
    put(NIGHTLY)
    assert hpo(["schedule", "pause", "retrain-digits"]) == 0
    assert only(uploaded)["mode"] == "DISABLE"
    put(NIGHTLY)
    put([*NIGHTLY, "--trials", "5"])
    assert only(uploaded)["mode"] == "DISABLE"
    assert "paused until `hpo schedule resume retrain-digits`" in capsys.readouterr().out
    assert hpo(["schedule", "list"]) == 0
    assert "retrain-digits  paused        0 3 * * * UTC" in capsys.readouterr().out
    hpo(["schedule", "resume", "retrain-digits"])
    assert only(uploaded)["mode"] == "ENABLE"
    assert only(uploaded)["runtime_config"]["parameters"]["trials"] == 5


def test_one_that_was_switched_off_in_the_ui_is_switched_on_by_applying_it(uploaded, capsys):
    put(NIGHTLY)
    switched_off = only(uploaded)
    switched_off |= {"mode": "DISABLE", "created_at": "2026-01-01T00:00:00Z"}
    put(NIGHTLY)
    assert only(uploaded)["mode"] == "ENABLE"
    # made anew: KFP would start the old one at once, for the latest time that it missed
    assert only(uploaded)["recurring_run_id"] != switched_off["recurring_run_id"]
    assert "was switched off, active again" in capsys.readouterr().out


def test_one_that_the_cluster_has_lost_is_made_again(uploaded):
    put(NIGHTLY)
    lost = only(uploaded)["recurring_run_id"]
    uploaded.orphans.add(lost)
    assert put(NIGHTLY) == 0
    assert only(uploaded)["recurring_run_id"] != lost
    assert only(uploaded)["mode"] == "ENABLE"


def test_each_run_of_a_schedule_reads_its_data_again(kfp, compiled):
    """KFP never replaces [[ScheduledTime]] in recurring runs of v2."""
    text = {"parameterType": "STRING", "defaultValue": "", "isOptional": True}
    upload(Kfp(kfp.endpoint), read_compiled(compiled(data_version=text)), "hpo")
    put(NIGHTLY)
    versions = [started_by(only(kfp))["data_version"] for _ in range(2)]
    assert versions[0] != versions[1]
    assert all(re.fullmatch(r"\d{14}-[0-9a-f-]{36}", version) for version in versions)


def test_a_person_starts_a_run_whatever_else_is_active(uploaded, capsys):
    for start in ("1", "2"):
        assert hpo(["pipeline", "run", FILE, "--set", "image=mine:1"]) == 0
        for run in uploaded.tables["runs"].values():
            run["display_name"] += start  # both may start within one second
    first, second = uploaded.tables["runs"].values()
    assert first["display_name"].startswith("digits-20")
    assert second["runtime_config"]["parameters"]["image"] == "mine:1"
    assert capsys.readouterr().out.count(": started\n") == 2


def test_removing_and_what_is_not_there(uploaded, capsys):
    put([*NIGHTLY, "--name", "other"])
    assert hpo(["schedule", "remove", "other"]) == 0
    assert uploaded.recurring == []
    assert hpo(["schedule", "pause", "other"]) == 1
    assert "no schedule other" in capsys.readouterr().err


def test_what_runs_in_the_image_loads_no_kfp():
    places = ("schedule.recurring", "start", "upload", "schedule.cronjob")
    modules = ", ".join(f"hpo_pipeline.kubeflow.{place}" for place in places)
    modules += ", hpo_pipeline.cli.pipeline, hpo_pipeline.cli.schedule"
    assert not loaded_by(f"import {modules}") & {"kfp", "kubernetes", "torch", "optuna"}


def test_others_of_other_names_are_left_alone(uploaded):
    put(NIGHTLY)
    put([*NIGHTLY, "--name", "weekly", "--cron", "0 3 * * 0"])
    assert {run["display_name"] for run in uploaded.recurring} == {"retrain-digits", "weekly"}


def test_a_wrong_experiment_is_told_with_all_faults_before_anything_is_sent(
    uploaded, tmp_path, capsys
):
    content = yaml.safe_load(Path(FILE).read_text("utf-8"))
    content["budget"] = {"trials": 0, "parallel": -1}
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    assert put([str(path), "--cron", "0 3 * * *"]) == 2
    assert "2 faults" in capsys.readouterr().err
    assert uploaded.calls == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cron", "0 24 * * *"], "hour: must be a number from 0 to 23"),
        (["--timezone", "Europe/Bärlin"], "--timezone: unknown time zone, got 'Europe/Bärlin'"),
        (["--timezone", "Europe/Berlin"], "--cluster-timezone Europe/Berlin"),
        (["--name", "Re_train"], "--name: must be at most 52 of a-z"),
        (["--trials", "0"], "budget.trials"),
        (["--set", "x"], "--set: must be NAME=VALUE, got 'x'"),
        (["--set", "seed=1"], "seed: unknown\nit takes engine (text), experiment (text, required)"),
        (["--set", "trials=many"], "trials: must be a whole number, got 'many'"),
        (["--pipeline", "nope"], "no pipeline nope"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(uploaded, capsys, arguments, says):
    assert put([*NIGHTLY, *arguments]) == 2
    assert says in capsys.readouterr().err
    assert uploaded.writes == []


def test_the_zone_of_the_installation_may_be_said(uploaded, monkeypatch):
    monkeypatch.setenv("KFP_CRON_TIMEZONE", "Europe/Berlin")
    assert put([*NIGHTLY, "--timezone", "Europe/Berlin"]) == 0
    assert only(uploaded)["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}


def manifest(capsys, *arguments: str) -> tuple[dict, dict]:
    assert put([*NIGHTLY, "--manifest", "--timezone", "Europe/Berlin", *arguments]) == 0
    config, job = yaml.safe_load_all(capsys.readouterr().out)
    return config, job


@pytest.mark.usefixtures("nowhere")
def test_the_manifest_is_a_cron_job_with_a_time_zone(capsys):
    config, job = manifest(capsys, "--trials", "4")
    assert config["data"]["experiment.yaml"] == Path(FILE).read_text("utf-8")
    spec = job["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 3 * * *", "Europe/Berlin")
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] == 3600
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert "--set=trials=4" in pod["containers"][0]["command"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.usefixtures("nowhere")
def test_a_manifest_has_no_seconds(capsys):
    assert put([FILE, "--cron", "30 0 3 * * *", "--manifest"]) == 2
    assert "must be 0 for a CronJob of Kubernetes, got 30" in capsys.readouterr().err


def test_what_the_cron_job_runs_starts_one_run_however_often_it_is_tried(
    uploaded, monkeypatch, capsys
):
    _, job = manifest(capsys, "--trials", "4")
    command = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[:4] == ["hpo", "pipeline", "run", "/schedule/experiment.yaml"]
    arguments = ["pipeline", "run", FILE, *command[4:]]
    for tick in ("retrain-digits-1", "retrain-digits-1", "retrain-digits-2", "by-hand"):
        monkeypatch.setenv("HPO_START", tick)
        assert hpo(arguments) == 0
    (run,) = uploaded.tables["runs"].values()
    assert run["runtime_config"]["parameters"]["trials"] == 4
    assert "not started, retrain-digits-1 is still running" in capsys.readouterr().out
    run["state"] = "SUCCEEDED"
    assert hpo(arguments) == 0
    assert len(uploaded.tables["runs"]) == 2
