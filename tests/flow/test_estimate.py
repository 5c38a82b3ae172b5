"""`hpo estimate`: the time of a run, from short trials."""

import pytest

from hpo_pipeline.cli.main import main
from hpo_pipeline.data.dataset import DatasetMeta
from hpo_pipeline.errors import ExperimentError
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


def test_the_winner_and_the_baseline_are_measured_on_the_test_rows_at_the_end():
    whole = {"load": 2.0, "train": 20.0, "evaluate": 2.0, "measure": 3.0}
    epochs = {**TASK, "training": {"num_train_epochs": 2}}
    read = {"constraints": ["latency_p50_ms <= 9"], "task": epochs}
    # To load, to answer twice as many rows as an evaluation of a trial does, and to be timed.
    alone, both = (
        final_seconds(toy_experiment(**read, baseline=given), whole, META)
        for given in ("none", {"learning_rate": 0.05})
    )
    assert (alone, both) == (8.0, 16.0)  # 4 s in five processes, though a trial took 3
    whole["measure"] = 0.5
    alone, both = (
        final_seconds(toy_experiment(task=epochs, baseline=given), whole, META)
        for given in ("none", {"learning_rate": 0.05})
    )
    assert (alone, both) == (6.0, 10.5)  # only the winner in five processes


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
    assert "Measured short trials of 20 steps, 2 side by side" in said
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
