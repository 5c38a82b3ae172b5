"""What every engine must do with the same experiment, whoever starts the trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_pipeline.results.trial import Trial, TrialState

Run = Callable[[Path], tuple[list[Trial], str | None]]

MIXED_SPACE = (
    "{learning_rate: {type: float, low: 1.0e-3, high: 1.0e-1, log: true}, "
    "model.num_hidden_layers: {type: int, low: 1, high: 2}, "
    "optim: {type: choice, values: [adamw_torch, sgd]}, "
    "gradient_checkpointing: {type: choice, values: [true, false]}}"
)


def starting_with(*rates: float) -> dict[str, str]:
    """Return the sections of a search whose first trials have these learning rates."""
    start = ", ".join(f"{{learning_rate: {rate}}}" for rate in rates)
    space = "{learning_rate: {type: float, low: 1.0e-7, high: 1.0}}"
    return {"space": space, "search": f"{{start: [{start}]}}"}


class EngineContract:
    """Subclasses give `run_engine`: run an experiment file, return trials and why it ended."""

    @pytest.fixture
    def run_engine(self) -> Run:
        raise NotImplementedError

    def test_all_trials_of_the_budget_have_results(self, run_engine, write_experiment):
        trials, ended = run_engine(write_experiment(budget="{trials: 5, parallel: 2}"))
        assert [t.number for t in trials] == [0, 1, 2, 3, 4]
        assert {t.state for t in trials} == {TrialState.SUCCEEDED}
        assert ended is None

    def test_parameters_keep_their_types(self, run_engine, write_experiment):
        file = write_experiment(space=MIXED_SPACE, budget="{trials: 2, parallel: 2}")
        for trial in run_engine(file)[0]:
            kinds = [type(value) for value in trial.assignments.values()]
            assert kinds == [float, int, str, bool]

    def test_a_failed_trial_is_a_result_with_a_reason(self, run_engine, write_experiment):
        file = write_experiment(
            space="{model.num_attention_heads: {type: choice, values: [2, 3]}}",
            search="{algorithm: grid}",
            budget="{trials: 2, parallel: 1}",
        )
        trials, _ = run_engine(file)
        by_heads = {t.assignments["model.num_attention_heads"]: t for t in trials}
        assert by_heads[2].state == TrialState.SUCCEEDED
        assert by_heads[3].state == TrialState.FAILED
        assert "the model cannot be built" in (by_heads[3].reason or "")

    def test_too_many_failures_end_the_search(self, run_engine, write_experiment):
        file = write_experiment(
            space="{model.num_attention_heads: {type: choice, values: [3, 5, 7, 9, 11]}}",
            search="{algorithm: grid}",
            budget="{trials: 5, parallel: 1, max_failed: 1}",
        )
        trials, ended = run_engine(file)
        assert len(trials) == 2
        assert ended == "2 trials failed, and budget.max_failed allows 1"

    def test_a_reached_target_ends_the_search(self, run_engine, write_experiment):
        file = write_experiment(budget="{trials: 9, parallel: 1, target: 0.3}")
        trials, ended = run_engine(file)
        assert len(trials) < 9
        assert ended == "the target 0.3 is reached"

    def test_time_that_is_up_ends_running_trials_with_their_results(
        self, run_engine, write_experiment
    ):
        file = write_experiment(
            training="{num_train_epochs: 100000, per_device_train_batch_size: 8}",
            budget="{trials: 9, parallel: 2, minutes: 0.05}",
        )
        trials, ended = run_engine(file)
        assert [t.state for t in trials] == [TrialState.STOPPED] * 2
        assert all("accuracy" in t.metrics for t in trials)
        assert ended == "the 0.05 minutes are over"

    def test_median_stopping_ends_bad_trials_early(self, run_engine, write_experiment):
        file = write_experiment(
            **starting_with(0.02, 0.03, 0.02, 1e-6, 1e-6),
            stopping="{algorithm: median, min_trials: 3, start_step: 2}",
            objective="{metric: loss, goal: minimize}",
            budget="{trials: 5, parallel: 1}",
        )
        trials, _ = run_engine(file)
        states = [t.state.value for t in trials]
        assert states[:2] == ["succeeded"] * 2, [t.reason for t in trials]
        assert states[3:] == ["stopped"] * 2
        assert [len(t.curve) for t in trials[3:]] == [2, 2]

    def test_rows_as_the_resource_end_bad_trials_before_they_train_on_all(
        self, run_engine, write_experiment
    ):
        file = write_experiment(
            **starting_with(0.02, 1e-6, 1e-6),
            stopping="{algorithm: asha, resource: rows}",
            objective="{metric: loss, goal: minimize}",
            budget="{trials: 3, parallel: 1}",
        )
        trials, _ = run_engine(file)
        assert [t.state.value for t in trials] == ["succeeded", "stopped", "stopped"]
        assert [len(t.curve) for t in trials] == [2 + 3, 1, 1]
        assert [t.curve[-1].training_step for t in trials] == [6 + 15 + 45, 6, 6]

    def test_the_baseline_runs_first_and_to_its_end(self, run_engine, write_experiment):
        file = write_experiment(
            baseline="{learning_rate: 0.002}",
            stopping="{algorithm: threshold, lower: 2.0, start_step: 1}",
            budget="{trials: 2, parallel: 1}",
        )
        first, second = run_engine(file)[0]
        assert first.assignments == {"learning_rate": 0.002}
        assert (first.state, len(first.curve)) == (TrialState.SUCCEEDED, 3)
        assert (second.state, len(second.curve)) == (TrialState.STOPPED, 1)

    def test_a_grid_ends_when_it_is_through(self, run_engine, write_experiment):
        file = write_experiment(
            space="{weight_decay: {type: float, low: 0.0, high: 0.2, step: 0.1}}",
            search="{algorithm: grid}",
            budget="{trials: 50, parallel: 2}",
        )
        trials, _ = run_engine(file)
        assert sorted(t.assignments["weight_decay"] for t in trials) == [0.0, 0.1, 0.2]

    def test_the_same_seed_gives_the_same_trials(self, run_engine, write_experiment):
        search = "{algorithm: tpe, seed: 3, settings: {startup_trials: 3}}"
        budget = "{trials: 6, parallel: 1}"
        files = [write_experiment(n, search=search, budget=budget) for n in ("one", "other")]
        one, other = (run_engine(file)[0] for file in files)
        assert [t.assignments for t in one] == [t.assignments for t in other]
        assert [t.metrics["loss"] for t in one] == [t.metrics["loss"] for t in other]
