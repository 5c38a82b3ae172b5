"""Median stopping by its definition: cases computed by hand."""

from __future__ import annotations

import math

import pytest

from hpo_pipeline.experiment.stopping import RULES
from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.search.pruners import STOPPING_RULES
from hpo_pipeline.search.study import Study
from tests.toys import toy_curve, toy_experiment, toy_trial


def study(
    *curves: tuple[float, ...],
    goal: str = "maximize",
    min_trials: int = 1,
    start_step: int = 1,
    ended: TrialState = TrialState.SUCCEEDED,
) -> Study:
    """Return a study in which trials with these curves ended."""
    rule = {"algorithm": "median", "min_trials": min_trials, "start_step": start_step}
    metric = {"metric": "accuracy", "goal": goal}
    made = Study(toy_experiment(stopping=rule, objective=metric, budget={"trials": 99}).problem)
    for curve in curves:
        number = made.ask().number
        trial = toy_trial(number, state=ended, curve=toy_curve(*curve), accuracy=curve[-1])
        made.tell(trial)
    return made


def stops(made: Study, *values: float) -> bool:
    """Tell whether a new trial with this curve should end at its last point."""
    return made.should_stop(made.ask().number, toy_curve(*values))


def test_a_trial_ends_where_its_best_is_below_the_median_of_the_averages() -> None:
    # At step 2 the averages are 0.5, 0.6 and 0.9: the median is 0.6.
    made = study((0.4, 0.6, 1.0), (0.5, 0.7, 1.0), (0.9, 0.9, 0.0))
    assert stops(made, 0.2, 0.59)
    assert not stops(made, 0.2, 0.61)


def test_the_best_value_so_far_counts_not_the_last() -> None:
    assert not stops(study((0.4, 0.6)), 0.7, 0.1)


def test_less_is_better_where_the_objective_is_minimized() -> None:
    made = study((1.0, 0.6), (0.9, 0.3), (0.5, 0.1), goal="minimize")  # 0.8, 0.6, 0.3
    assert stops(made, 0.9, 0.61)
    assert not stops(made, 0.59, 0.9)


def test_averages_run_up_to_the_step_only() -> None:
    # At step 1: 0.2. At step 3: (0.2 + 0.6 + 1.0) / 3 = 0.6.
    made = study((0.2, 0.6, 1.0))
    assert not stops(made, 0.3)
    assert stops(made, 0.3, 0.3, 0.3)


def test_an_even_number_of_trials_has_its_median_in_the_middle() -> None:
    made = study((0.2,), (0.4,), (0.6,), (0.9,))  # 0.5
    assert stops(made, 0.49)
    assert not stops(made, 0.51)


def test_a_mean_would_decide_otherwise() -> None:
    # The median is 0.2, the mean 0.4: Katib's rule would stop here.
    assert not stops(study((0.1,), (0.2,), (0.9,)), 0.3)


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_a_tie_goes_on(goal: str) -> None:
    assert not stops(study((0.5, 0.5), goal=goal), 0.5, 0.5)


def test_nothing_ends_before_enough_trials_ran_to_their_end() -> None:
    assert not stops(study((0.9,), (0.9,), min_trials=3), 0.1)
    assert stops(study((0.9,), (0.9,), (0.9,), min_trials=3), 0.1)


@pytest.mark.parametrize("state", [TrialState.STOPPED, TrialState.FAILED])
def test_stopped_and_failed_trials_do_not_count(state: TrialState) -> None:
    made = study((0.9,), (0.9,), (0.9,), min_trials=1, ended=state)
    assert not stops(made, 0.1)


def test_running_trials_do_not_count() -> None:
    made = study((0.9,), min_trials=2)
    running = made.ask().number
    for point in toy_curve(0.9, 0.9):
        made.report(running, point)
    assert not stops(made, 0.1)


def test_nothing_ends_before_the_start_step_and_every_step_after_decides() -> None:
    made = study((0.9, 0.9, 0.9, 0.9, 0.9), start_step=3)
    decisions = [stops(made, *[0.1] * steps) for steps in range(1, 6)]
    assert decisions == [False, False, True, True, True]


def test_a_trial_that_survived_may_be_ended_later() -> None:
    made = study((0.1, 0.5, 0.9))  # averages: 0.1, 0.3, 0.5
    number = made.ask().number
    curve = toy_curve(0.2, 0.35, 0.4)
    assert [made.should_stop(number, curve[:n]) for n in (1, 2, 3)] == [False, False, True]


def test_a_trial_that_ended_early_counts_by_what_it_reported() -> None:
    assert stops(study((0.5,), (0.9,), (0.9,)), 0.1, 0.1, 0.8)


def test_values_that_are_no_numbers_are_passed_over() -> None:
    made = study((math.nan, 0.4), (0.6, 0.6))  # averages at step 2: 0.4 and 0.6
    assert stops(made, math.nan, 0.49)
    assert not stops(made, 0.51, math.nan)
    assert not stops(made, math.nan, math.nan)


def test_asking_changes_nothing_that_is_stored() -> None:
    made = study((0.5, 0.5, 0.5))
    number = made.ask().number
    for point in toy_curve(0.1, 0.2, 0.3):
        made.report(number, point)
    made.should_stop(number, toy_curve(0.9))
    assert made._frozen(number).intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}


def test_a_formula_is_followed_too() -> None:
    rule = {"algorithm": "median", "min_trials": 1}
    made = Study(
        toy_experiment(stopping=rule, objective={"score": "-loss", "goal": "maximize"}).problem
    )
    made.tell(toy_trial(made.ask().number, curve=toy_curve(0.5, metric="loss"), loss=0.5))
    assert made.should_stop(made.ask().number, toy_curve(0.6, metric="loss"))
    assert not made.should_stop(made.ask().number, toy_curve(0.4, metric="loss"))


def test_without_a_rule_nothing_ends() -> None:
    made = Study(toy_experiment().problem)
    for _ in range(5):
        made.tell(toy_trial(made.ask().number, curve=toy_curve(0.9), accuracy=0.9))
    assert not stops(made, 0.0)


def test_each_rule_of_the_schema_has_its_pruner() -> None:
    assert set(STOPPING_RULES) == set(RULES)
