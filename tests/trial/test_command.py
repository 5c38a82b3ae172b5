from pathlib import Path

import pytest

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.trial.command import TrialCommand, full_argv, parse

COMMAND = TrialCommand(
    experiment=Path("/runs/experiment.json"),
    dataset=Path("/data/tweets"),
    output=Path("/runs/trials"),
    name="tweets-0003",
    number=3,
    assignments={"learning_rate": "0.0003", "optim": "a=b", "model.num_hidden_layers": "2"},
)


def test_reading_gives_back_what_was_written():
    assert parse(COMMAND.argv()) == COMMAND


def test_placeholders_of_katib_pass_through():
    given = {"learning_rate": "${trialParameters.learning_rate}"}
    argv = TrialCommand(Path("e"), Path("d"), Path("o"), "n", 0, given).argv()
    assert parse(argv).assignments == given


def test_the_whole_command_starts_the_module():
    assert full_argv(COMMAND)[1:4] == ["-P", "-m", "hpo_pipeline.trial"]


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(ExperimentError, match="must be NAME=VALUE, got 'lr'"):
        parse([*COMMAND.argv(), "--set", "lr"])
