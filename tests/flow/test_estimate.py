"""`hpo estimate`: the time of a run, from short trials."""

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.data.prepared.dataset import DatasetMeta
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.stopping import PlannedSearch
from hpo_pipeline.flow.estimate import estimate, final_seconds, middle_of, whole_trial
from hpo_pipeline.results.trial import Trial, TrialState
from tests.toys import LR, TASK, toy_experiment

META = DatasetMeta(
    "f", "k", "s", "d", [], {"train": 800, "validation": 100, "test": 200}, 0.5, 12, None, [], {}
)


def test_a_short_trial_is_stretched_to_a_whole_one():
    seconds = {"load": 2.0, "train": 4.0, "evaluate": 1.0, "measure": 3.0, "save": 0.5}
    short = Trial(
        "t-0",
        0,
        TrialState.SUCCEEDED,
        {"per_device_train_batch_size": 16},
        training_steps=20,
        seconds=seconds,
    )
    whole = whole_trial(toy_experiment(), short, {"num_train_epochs": 2}, META)
    assert whole == {"load": 2.0, "train": 20.0, "evaluate": 2.0, "measure": 3.0, "save": 0.5}
    steps = {"training": {"num_train_epochs": 2, "eval_strategy": "steps", "eval_steps": 0.25}}
    quarters = whole_trial(toy_experiment(task={**TASK, **steps}), short, {}, META)
    assert quarters["evaluate"] == 4.0


def test_the_winner_and_the_baseline_are_measured_on_the_test_rows_at_the_end():
    whole = {"load": 2.0, "train": 20.0, "evaluate": 2.0, "measure": 3.0}
    epochs = {**TASK, "training": {"num_train_epochs": 2}}
    read = {"constraints": ["latency_p50_ms <= 9"], "task": epochs}
    # To load, to answer twice as many rows as an evaluation of a trial does, and to be timed.
    alone, both = (
        final_seconds(toy_experiment(**read, baseline=given), whole, META)
        for given in ("none", {"learning_rate": 0.05})
    )
    # The winner in ten processes, the baseline in five: 8 s and 4 s, though a trial took 3.
    assert (alone, both) == (12.0, 20.0)
    whole["measure"] = 0.5
    alone, both = (
        final_seconds(toy_experiment(task=epochs, baseline=given), whole, META)
        for given in ("none", {"learning_rate": 0.05})
    )
    assert (alone, both) == (6.0, 10.5)  # only the winner in five processes


@pytest.mark.parametrize(
    ("stopping", "trials", "digits", "tweets"),
    [
        ({"algorithm": "median"}, 12, 0.80, 0.83),
        ({"algorithm": "median"}, 60, 0.56, 0.66),
        ({"algorithm": "median", "min_trials": 4, "start_step": 2}, 24, 0.76, 0.87),
        ({"algorithm": "percentile", "percentile": 25.0}, 24, 0.50, 0.68),
        ({"algorithm": "asha"}, 24, 0.26, 0.49),
        ({"algorithm": "hyperband"}, 60, 0.37, 0.69),
        ({"algorithm": "forecast"}, 24, 0.47, 0.60),
        ({"algorithm": "patience"}, 24, 0.97, 0.92),
    ],
)
def test_early_stopping_leaves_as_much_as_on_the_recorded_studies(stopping, trials, digits, tweets):
    # benchmarks/recorded/stopped_share.py, the mean of random search and tpe.
    rule = toy_experiment(stopping=stopping).stopping
    assert rule.share_left(PlannedSearch(12, trials, 4)) == pytest.approx(digits, rel=0.3)
    assert rule.share_left(PlannedSearch(6, trials, 4)) == pytest.approx(tweets, rel=0.3)


def test_what_early_stopping_leaves_has_limits():
    for stopping in ({"algorithm": "median"}, {"algorithm": "asha"}, {"algorithm": "forecast"}):
        rule = toy_experiment(stopping=stopping).stopping
        assert rule.share_left(PlannedSearch(1, 12, 4)) == 1.0
    rows = toy_experiment(stopping={"algorithm": "asha", "resource": "rows"}).stopping
    assert rows.share_left(PlannedSearch(3, 12, 4)) == pytest.approx(0.32, abs=0.005)
    capped = toy_experiment(stopping={"algorithm": "asha", "max_resource": 3}).stopping
    assert capped.share_left(PlannedSearch(12, 12, 4)) == pytest.approx((1 + 0.45 * 2) / 12)


def test_short_trials_are_amid_the_space_and_differ():
    space = {
        "learning_rate": {**LR, "low": 1e-4, "high": 1e-2},
        "num_train_epochs": {"type": "int", "low": 1, "high": 5},
        "per_device_train_batch_size": {"type": "choice", "values": [8, 16, 32]},
    }
    first, second = middle_of(toy_experiment(space=space), 2)
    assert first["num_train_epochs"] == 3
    assert first["per_device_train_batch_size"] == 16
    assert first["learning_rate"] < 1e-3 < second["learning_rate"]


def test_the_command_measures_and_computes(write_experiment, capsys):
    file = write_experiment()
    assert main(["estimate", str(file), "--price", "3.6"]) == 0
    said = capsys.readouterr().out
    assert "Measured short trials of 40 steps, 2 side by side" in said
    assert "The run takes about" in said
    assert "At 3.6 an hour, it costs about 0." in said


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"search": {"algorithm": "pbt"}}, "members of a population train in intervals"),
        ({"space": {"max_steps": {"type": "int", "low": 1, "high": 9}}}, "max_steps: the time of"),
    ],
)
def test_what_cannot_be_estimated_is_said(sections, message):
    with pytest.raises(ExperimentError, match=message):
        estimate(toy_experiment(**sections))
