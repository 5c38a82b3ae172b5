"""An engine is one folder and one row: a toy of both is found, searches, and ends a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_pipeline.engines import RunContext
from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.flow.launch import launch
from hpo_pipeline.results.run_folder import RunFolder
from tests.engines.test_local import Lines
from tests.toys import toy_experiment


def context(tmp_path: Path, **sections: object) -> RunContext:
    return RunContext(toy_experiment(**sections), RunFolder(tmp_path / "run"), Lines())


def test_a_toy_engine_ends_a_whole_run(toy_engine, tmp_path: Path) -> None:
    result = launch("toy", context(tmp_path, budget={"trials": 6, "parallel": 2}))
    assert result.state == "succeeded"
    assert len(result.trials) == 6
    best = max(result.trials, key=lambda t: t.metrics["accuracy"])
    assert result.winner is not None
    assert result.winner.name == best.name
    assert result.winner.test == {"accuracy": 0.5}
    assert result.winner.model == "toy:m"


def test_a_toy_engine_ends_at_the_target_and_resumes(toy_engine, tmp_path: Path) -> None:
    reached = context(tmp_path, budget={"trials": 20, "parallel": 2, "target": 1e-4})
    first = launch("toy", reached)
    assert first.reason == "the target 0.0001 is reached"
    assert len(first.trials) < 20
    again = launch("toy", context(tmp_path, budget={"trials": 20, "parallel": 2}))
    assert len(again.trials) == 20
    assert again.trials[: len(first.trials)] == first.trials


def test_what_only_this_engine_refuses_is_told_before_it_starts(toy_engine, tmp_path) -> None:
    with pytest.raises(ExperimentError, match="toys are few"):
        launch("toy", context(tmp_path, budget={"trials": 30}))
