"""A run as a study of Optuna, and back."""

from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.search.export import study_of
from hpo_pipeline.spaces import from_optuna
from tests.toys import LR, toy_curve, toy_experiment, toy_trial


def test_trials_with_their_values_curves_and_states():
    trials = [
        toy_trial(1, accuracy=0.9, curve=toy_curve(0.5, 0.9)),
        toy_trial(0, accuracy=0.7),
        toy_trial(2, state=TrialState.STOPPED, curve=toy_curve(0.2)),
        toy_trial(3, state=TrialState.FAILED),
        toy_trial(4),
    ]
    study = study_of(toy_experiment(), trials)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL", "FAIL"]
    assert study.best_value == 0.9
    assert study.best_trial.user_attrs["name"] == "toy-1"
    assert study.best_trial.intermediate_values == {1: 0.5, 2: 0.9}
    assert from_optuna(study).space == {"learning_rate": LR}


def test_several_objectives_have_several_values():
    objectives = [
        {"metric": "accuracy", "goal": "maximize"},
        {"metric": "latency_p95_ms", "goal": "minimize"},
    ]
    experiment = toy_experiment(objective=objectives)
    study = study_of(experiment, [toy_trial(0, accuracy=0.9, latency_p95_ms=3.0)])
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.trials[0].values == [0.9, 3.0]
