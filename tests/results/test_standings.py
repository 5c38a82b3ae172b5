"""The ranking of a run that is looked at again and again is the one of results/ranking.py."""

from __future__ import annotations

import random

import pytest

from hpo_pipeline.results.ranking import listed, winner
from hpo_pipeline.results.standings import Standings
from hpo_pipeline.results.trial import TrialState
from tests.toys import toy_experiment, toy_trial

TWO = [{"metric": "accuracy", "goal": "maximize"}, {"metric": "loss", "goal": "minimize"}]


def make(rng, number):
    state = rng.choice([*TrialState, TrialState.SUCCEEDED])
    values = {"accuracy": rng.choice([0.5, 0.6, 0.7]), "loss": rng.random()}
    return toy_trial(number, state=state, **values)


@pytest.mark.parametrize("objective", [TWO[0], TWO])
def test_as_if_ranked_at_once_whatever_changes(objective):
    experiment = toy_experiment(objective=objective, constraints=["loss <= 0.8"])
    rng, standings = random.Random(0), Standings(experiment)
    trials = {}
    for _ in range(60):
        number = rng.randrange(40)
        trials[number] = make(rng, number)
        if rng.random() < 0.1:
            trials.pop(rng.choice(list(trials)))
        shown = list(trials.values())
        ranked, others = listed(experiment, [t for t in shown if t.state.is_final])
        found = standings.of(shown)
        assert (list(found.ranked), list(found.others)) == (ranked, others)
        assert found.winner == winner(experiment, shown)


def test_nothing_is_ranked_anew_where_nothing_changed():
    standings = Standings(toy_experiment())
    trials = [toy_trial(number, accuracy=0.5) for number in range(3)]
    assert standings.of(trials) is standings.of(list(trials))
