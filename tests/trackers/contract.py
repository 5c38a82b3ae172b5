"""What every tracker must do, however it shows things: sent again, nothing changes."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hpo_pipeline.results.outcome import Winner
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.run_state import RunState
from hpo_pipeline.results.trial import Trial, TrialState
from hpo_pipeline.trackers.interface import RunEntry, TimedPoint, TrackedRun, TrialEntry
from hpo_pipeline.trackers.ledger import JsonLedger
from tests.toys import toy_curve, toy_experiment, toy_trial

WON = Winner(
    "toy-1", {"learning_rate": 0.001}, {"accuracy": 0.9}, test={"accuracy": 0.8}, model="/m"
)


@dataclass
class Shown:
    """A trial as the tracker shows it."""

    params: dict[str, str]
    curve: list[tuple[int, float]]
    metrics: dict[str, float]
    state: str | None = None
    reason: str | None = None
    is_winner: bool = False
    files: set[str] = field(default_factory=set)


def entry(trial: Trial, *, points=None, time: float = 1000.0, **content) -> TrialEntry:
    """Return an entry of a trial with points of its curve, all by default."""
    points = trial.curve if points is None else points
    timed = tuple(TimedPoint(time + p.step, p) for p in points)
    ended = trial if trial.state.is_final else None
    return TrialEntry(
        trial.name, trial.number, trial.assignments, time + 10, timed, ended, **content
    )


def done(number: int = 1, *values: float, **content) -> Trial:
    values = values or (0.5, 0.9)
    curve = toy_curve(*values)
    trial = toy_trial(number, curve=curve, accuracy=max(values), **content)
    return dataclasses.replace(trial, training_steps=curve[-1].training_step)


class TrackerContract:
    """Supply `run`, `open_tracker` and `shown`; `live` says whether running trials are shown."""

    live = True
    keeps_files = True

    @pytest.fixture
    def run(self, tmp_path: Path) -> TrackedRun:
        folder = RunFolder(tmp_path / "run")
        with folder.locked():
            folder.adopt(toy_experiment())
            run_id = folder.run_id()
        folder.model.mkdir()
        (folder.model / "config.json").write_text("{}")
        return TrackedRun(run_id, toy_experiment(), folder.path, self.environ())

    def environ(self) -> dict[str, str]:
        return {}

    def open_tracker(self, run, ledger):
        raise NotImplementedError

    def shown(self, run) -> dict[str, Shown]:
        """Return the trials of the run, by name; fails where one is there twice."""
        raise NotImplementedError

    @pytest.fixture
    def send(self, run):
        """Return a function that sends entries, as a process of its own would."""

        def send(*entries):
            file = RunFolder(run.folder).tracking / "test.jsonl"
            with closing(JsonLedger(file)) as ledger:
                tracker = self.open_tracker(run, ledger)
                for one in entries:
                    (tracker.run if isinstance(one, RunEntry) else tracker.trial)(one)
                tracker.close()

        return send

    def test_a_trial_has_parameters_curve_and_result(self, run, send):
        send(entry(done()))
        (name, trial), *others = self.shown(run).items()
        assert (name, others) == ("toy-1", [])
        assert trial.params == {"learning_rate": "0.001"}
        assert trial.curve == [(10, 0.5), (20, pytest.approx(0.9))]
        assert trial.metrics == {"accuracy": pytest.approx(0.9)}
        assert (trial.state, trial.is_winner) == ("succeeded", False)

    def test_a_failed_trial_has_its_reason(self, run, send):
        failed = dataclasses.replace(done(), state=TrialState.FAILED, reason="out of memory")
        send(entry(failed))
        assert self.shown(run)["toy-1"].state == "failed"
        assert self.shown(run)["toy-1"].reason == "out of memory"

    def test_in_parts_as_at_once(self, run, send):
        trial = done(1, 0.5, 0.7, 0.9)
        running = dataclasses.replace(trial, state=TrialState.RUNNING, metrics={})
        send(entry(running, points=()), entry(running, points=trial.curve[:2]))
        assert len(self.shown(run)) == self.live
        send(entry(trial, points=trial.curve[2:]))
        assert [value for _, value in self.shown(run)["toy-1"].curve] == pytest.approx(
            [0.5, 0.7, 0.9]
        )

    def test_what_comes_twice_changes_nothing(self, run, send):
        trials = [entry(done(1)), entry(done(2))]
        send(*trials)
        before = self.shown(run)
        send(*trials)
        send(*trials, *trials)
        assert self.shown(run) == before

    def test_a_trial_that_begins_anew_replaces_itself(self, run, send):
        running = dataclasses.replace(done(1, 0.1, 0.2), state=TrialState.RUNNING, metrics={})
        send(entry(running))
        send(entry(done(1, 0.5, 0.9), begins_anew=True, time=2000.0))
        (trial,) = self.shown(run).values()
        assert [value for _, value in trial.curve] == pytest.approx([0.5, 0.9])

    def test_the_winner_with_its_test_metrics_and_its_model(self, run, send):
        end = RunEntry(3000.0, RunState(run.run_id, "succeeded", winner=WON))
        send(entry(done(1)), entry(done(2, 0.3)), end)
        send(end)
        shown = self.shown(run)
        assert shown["toy-1"].is_winner
        assert not shown["toy-2"].is_winner
        assert shown["toy-1"].metrics["test_accuracy"] == pytest.approx(0.8)
        if self.keeps_files:
            assert shown["toy-1"].files == {"model/config.json"}

    def test_another_winner_after_the_run_was_resumed(self, run, send):
        send(entry(done(1)), RunEntry(2000.0, RunState(run.run_id, "succeeded", winner=WON)))
        other = dataclasses.replace(WON, name="toy-2", test={"accuracy": 0.95})
        send(entry(done(2, 0.99)), RunEntry(3000.0, RunState(run.run_id, winner=other)))
        shown = self.shown(run)
        assert [name for name, trial in shown.items() if trial.is_winner] == ["toy-2"]
        assert shown["toy-2"].metrics["test_accuracy"] == pytest.approx(0.95)
