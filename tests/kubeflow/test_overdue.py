"""Starts of schedules that brought no run, as the exporter shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from hpo_pipeline.cli.main import main as hpo
from hpo_pipeline.errors import PipelineError
from hpo_pipeline.kubeflow.api import Kfp
from hpo_pipeline.kubeflow.schedule.overdue import overdue
from tests.kubeflow.test_schedule import FILE, only

UTC_ZONE = ZoneInfo("UTC")


def ago(**span):
    return (datetime.now(UTC) - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def hourly(uploaded):
    """A schedule that was made five and a half hours ago, half an hour past each start."""
    minute = (datetime.now(UTC) - timedelta(minutes=30)).minute
    assert hpo(["schedule", "set", FILE, "--cron", f"{minute} * * * *"]) == 0
    only(uploaded)["created_at"] = ago(hours=5, minutes=20)
    return uploaded


def add_run(kfp, *, state="SUCCEEDED", **span):
    schedule = only(kfp)
    kfp.tables["runs"][str(len(kfp.tables["runs"]))] = {
        "run_id": str(len(kfp.tables["runs"])),
        "recurring_run_id": schedule["recurring_run_id"],
        "experiment_id": schedule["experiment_id"],
        "created_at": ago(**span),
        "state": state,
    }


def missed(kfp):
    (found,) = overdue(Kfp(kfp.endpoint), UTC_ZONE)
    return found.missed


def test_starts_without_any_run_are_missed(hourly):
    assert missed(hourly) == 5


def test_starts_after_the_last_run_are_missed(hourly):
    add_run(hourly, hours=4, minutes=29)
    add_run(hourly, hours=2, minutes=29)
    assert missed(hourly) == 2


def test_a_run_a_moment_before_its_start_is_its_run(hourly):
    add_run(hourly, minutes=30, seconds=20)
    assert missed(hourly) == 0


def test_none_is_missed_while_a_run_is_active_or_the_schedule_is_off(hourly):
    add_run(hourly, hours=4, state="RUNNING")
    assert missed(hourly) == 0
    hourly.tables["runs"].clear()
    only(hourly)["mode"] = "DISABLE"
    assert missed(hourly) == 0


def test_a_start_of_a_moment_ago_is_not_missed_yet(uploaded):
    minute = (datetime.now(UTC) - timedelta(minutes=3)).minute
    assert hpo(["schedule", "set", FILE, "--cron", f"{minute} * * * *"]) == 0
    only(uploaded)["created_at"] = ago(minutes=40)
    assert missed(uploaded) == 0


def test_the_token_of_a_pod_may_change(hourly, monkeypatch, tmp_path):
    token = tmp_path / "token"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
    token.write_text("first")
    kfp = Kfp(hourly.endpoint)
    for name in ("first", "second"):
        token.write_text(name)
        hourly.token = name
        assert len(overdue(kfp, UTC_ZONE)) == 1


def test_an_installation_that_is_down_is_an_error(hourly):
    hourly.close()
    with pytest.raises(PipelineError, match="cannot be reached"):
        overdue(Kfp(hourly.endpoint), UTC_ZONE)
