"""The best trials, kept as trials end, are those that the ranking of all has."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hpo_pipeline.results.leaders import Leaders
from hpo_pipeline.results.ranking import rank, winner
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_experiment, toy_trial

ONE = {"metric": "accuracy", "goal": "maximize"}
OTHER = {"metric": "model_size_mb", "goal": "minimize"}


@pytest.mark.parametrize("objective", [ONE, [ONE, OTHER]])
def test_the_leaders_are_the_first_of_the_ranking(objective: Any) -> None:
    experiment = toy_experiment(objective=objective, constraints=["loss <= 0.8"])
    rng, leaders, trials = random.Random(0), Leaders(experiment, 3), []
    for number in range(40):
        state = TrialState.FAILED if number % 7 == 0 else TrialState.SUCCEEDED
        metrics = {n: round(rng.random(), 1) for n in ("accuracy", "loss", "model_size_mb")}
        trials.append(toy_trial(number, state=state, **metrics))
        leaders.add(trials[-1])
        assert leaders.first() == rank(experiment, trials)[:3]
        assert leaders.winner() == winner(experiment, trials)


def test_none_is_kept_where_none_is_asked_for() -> None:
    leaders = Leaders(toy_experiment(), 0)
    leaders.add(toy_trial(accuracy=1.0))
    assert leaders.first() == []
    assert leaders.winner() is None
