"""The tracker of MLflow on a fake server, through the real client."""

from __future__ import annotations

import pytest

pytest.importorskip("mlflow")

from hpo_pipeline.errors import Refused, TrackingError
from hpo_pipeline.registry.server.mlflow import SETTINGS
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.trackers import to_mlflow
from hpo_pipeline.trackers.interface import RunEntry, TrackedRun
from tests.registry.fake_mlflow import FakeMlflow
from tests.registry.fake_server import served
from tests.toys import toy_experiment
from tests.trackers.contract import Shown, TrackerContract, done, entry


class TestMlflow(TrackerContract):
    @pytest.fixture(autouse=True)
    def server(self, monkeypatch):
        for name, value in SETTINGS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        self.fake = FakeMlflow()
        with served(self.fake) as address:
            self.url = f"http://{address}"
            monkeypatch.setenv("MLFLOW_TRACKING_URI", self.url)
            yield

    def environ(self):
        return {"MLFLOW_TRACKING_URI": self.url}

    def open_tracker(self, run, ledger):
        return to_mlflow.open_tracker(run, ledger)

    def runs(self):
        active = self.fake.runs.values()
        return [run for run in active if run["info"]["lifecycle_stage"] == "active"]

    def shown(self, run):
        found = {}
        for one in self.runs():
            name, tags = one["tags"]["hpo-pipeline.trial"], one["tags"]
            if not name:
                continue
            assert name not in found
            curve = [p for p in one["metrics"] if p["key"] == "curve/accuracy"]
            result = [p for p in one["metrics"] if "/" not in p["key"]]
            prefix = one["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/") + "/"
            files = {p.removeprefix(prefix) for p in self.fake.files if p.startswith(prefix)}
            found[name] = Shown(
                one["params"],
                sorted((p["step"], p["value"]) for p in curve),
                {p["key"]: p["value"] for p in result},
                tags.get("hpo-pipeline.state"),
                tags.get("hpo-pipeline.reason"),
                tags.get("hpo-pipeline.winner") == "true",
                files,
            )
        return found

    def test_the_trials_are_below_the_run_of_the_search(self, run, send):
        send(entry(done(1)), entry(done(2)), RunEntry(5.0, RunState(run.run_id, "succeeded")))
        group, *trials = self.runs()
        assert group["info"]["status"] == "FINISHED"
        assert group["tags"]["hpo-pipeline.objective"] == "maximize accuracy"
        parents = {trial["tags"]["mlflow.parentRunId"] for trial in trials}
        assert parents == {group["info"]["run_id"]}
        assert self.fake.experiments == ["toy"]

    def test_a_pipeline_says_below_which_run(self, run, send, monkeypatch):
        given = {**run.environ, "MLFLOW_RUN_ID": "f" * 32, "MLFLOW_EXPERIMENT_ID": "7"}
        run.environ.update(given)
        send(entry(done(1)))
        group, trial = self.runs()
        assert group["tags"]["mlflow.parentRunId"] == "f" * 32
        assert trial["tags"]["mlflow.parentRunId"] == group["info"]["run_id"]
        assert {r["info"]["experiment_id"] for r in (group, trial)} == {"7"}

    def test_a_creation_whose_answer_was_lost_is_found_again(self, run, send):
        self.fake.loses = "runs/create"
        with pytest.raises(TrackingError):
            send(entry(done(1)))
        send(entry(done(1)))
        assert len(self.runs()) == 2  # the search, and its trial
        assert set(self.shown(run)) == {"toy-1"}

    def test_a_busy_server_is_tried_later_and_a_deleted_trial_never(self, run, send):
        self.fake.busy = 1
        with pytest.raises(TrackingError) as found:
            send(entry(done(1)))
        assert not isinstance(found.value, Refused)
        send(entry(done(1)))
        self.runs()[-1]["info"]["lifecycle_stage"] = "deleted"
        with pytest.raises(Refused, match="toy-1 was refused"):
            send(entry(done(1)))

    def test_a_server_that_refuses_the_token_is_tried_later(self, run, send):
        self.fake.refusal = 401
        with pytest.raises(TrackingError, match="401"):
            send(entry(done(1)))


def test_nobody_answers(tmp_path):
    run = TrackedRun(
        "id", toy_experiment(), tmp_path, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    )
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9 does not answer"):
        to_mlflow.open_tracker(run, None)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "set MLFLOW_TRACKING_URI"),
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, "set MLFLOW_TRACKING_URI"),
        ({"MLFLOW_TRACKING_URI": "http://host:port"}, "set MLFLOW_TRACKING_URI"),
        ({"MLFLOW_TRACKING_URI": "https://ann:secret@host"}, "without user and password"),
        ({"MLFLOW_TRACKING_URI": "http://host", "MLFLOW_TRACKING_TOKEN": "secret"}, "plain http"),
        ({"MLFLOW_TRACKING_URI": "https://host", "MLFLOW_TRACKING_TOKEN": "secret"}, None),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:5", "MLFLOW_TRACKING_TOKEN": "secret"}, None),
    ],
)
def test_the_environment_names_the_server(environ, said, tmp_path):
    found = to_mlflow.faults({"HOME": str(tmp_path), **environ})
    assert "secret" not in str(found)
    assert found == [] if said is None else said in found[0]
