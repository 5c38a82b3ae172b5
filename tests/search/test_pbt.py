"""Exploit and explore on a study, without any training: members are told made-up results."""

from __future__ import annotations

import re

import pytest
from optuna.storages import InMemoryStorage

from hpo_pipeline.experiment.loading import read
from hpo_pipeline.experiment.population import Population, population
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import TrialState
from hpo_pipeline.search.journal import open_journal
from hpo_pipeline.search.study import Study, Suggestion
from tests.toys import toy_curve, toy_experiment, toy_trial

SPACE = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.1},
    "adam_beta1": {"type": "float", "low": 0.5, "high": 0.9, "step": 0.1},
    "max_grad_norm": {"type": "int", "low": 1, "high": 9},
    "label_smoothing_factor": {"type": "choice", "values": [0.0, 0.1, 0.2, 0.3]},
}


def experiment(*, size: int = 4, generations: int = 3, **settings: float) -> Experiment:
    chosen = {"population": size, "resample": 0.0, **settings}
    return toy_experiment(
        space=SPACE,
        search={"algorithm": "pbt", "seed": 3, "settings": chosen},
        budget={"trials": size * generations},
    )


def tell(study: Study, suggestion: Suggestion, accuracy: float, **metrics: float) -> None:
    study.tell(toy_trial(suggestion.number, accuracy=accuracy, **metrics))


def after(*accuracies: float, **settings: float) -> tuple[Study, list[Suggestion]]:
    """Return a study whose first generation ended so, and that generation."""
    study = Study(experiment(size=len(accuracies), **settings).problem)
    first = [study.ask() for _ in accuracies]
    for suggestion, accuracy in zip(first, accuracies, strict=True):
        tell(study, suggestion, accuracy)
    return study, first


def test_a_trial_is_one_interval_of_one_member() -> None:
    members = population(experiment())
    assert members == Population(size=4, generations=3)
    assert [members.generation(n) for n in (0, 3, 4, 11)] == [0, 0, 1, 2]
    assert [members.end(n, 100) for n in (0, 4, 8)] == [33, 67, 100]


def test_a_checkpoint_is_needed_until_the_next_generation_has_ended() -> None:
    members = Population(size=2, generations=3)
    assert not members.is_done(0, {0, 1, 2})
    assert members.is_done(0, {0, 1, 2, 3})
    assert members.is_done(4, {4})  # nothing follows the last generation


def test_the_first_generation_has_no_parents_and_differs() -> None:
    _, first = after(0.1, 0.2, 0.3, 0.4)
    assert [s.parent for s in first] == [None] * 4
    assert len({s.assignments["learning_rate"] for s in first}) == 4


def test_the_worst_copies_the_best_and_the_others_go_on_with_what_they_have() -> None:
    study, first = after(0.3, 0.1, 0.4, 0.2)
    second = [study.ask() for _ in range(4)]
    assert [s.parent for s in second] == [0, 2, 2, 3]
    for n in (0, 2, 3):
        assert second[n].assignments == first[n].assignments
    assert second[1].assignments != first[2].assignments


def test_a_member_is_judged_by_where_its_checkpoint_is_not_by_its_best() -> None:
    study = Study(experiment(size=2).problem)
    for curve in ((0.9, 0.1), (0.2, 0.5)):
        trial = toy_trial(study.ask().number, curve=toy_curve(*curve), accuracy=max(curve))
        study.tell(trial)
    assert [study.ask().parent for _ in range(2)] == [1, 1]


def test_constraints_come_before_the_objective() -> None:
    tight = {"constraints": ("model_size_mb <= 10",)}
    study = Study(experiment(size=2).model_copy(update=tight).problem)
    for accuracy, size in ((0.9, 20.0), (0.5, 5.0)):
        tell(study, study.ask(), accuracy, model_size_mb=size)
    assert [study.ask().parent for _ in range(2)] == [1, 1]


def test_exploring_moves_each_parameter_to_a_near_value_of_the_space() -> None:
    study, first = after(0.9, 0.1, perturbation=0.2)
    old, new = first[0].assignments, [study.ask() for _ in range(2)][1].assignments
    ratio = new["learning_rate"] / old["learning_rate"]
    assert min(abs(ratio - 1.2), abs(ratio - 1 / 1.2)) < 1e-9
    assert abs(abs(new["weight_decay"] - old["weight_decay"]) - 0.02) < 1e-9
    assert round(abs(new["adam_beta1"] - old["adam_beta1"]), 6) in (0.0, 0.1)
    assert 0 <= abs(new["max_grad_norm"] - old["max_grad_norm"]) <= 2
    places = [
        SPACE["label_smoothing_factor"]["values"].index(v["label_smoothing_factor"])
        for v in (old, new)
    ]
    assert abs(places[0] - places[1]) <= 1


@pytest.mark.parametrize("perturbation", [0.001, 0.2, 4.0])
@pytest.mark.parametrize("resample", [0.0, 1.0])
def test_what_is_explored_stays_in_the_space(perturbation: float, resample: float) -> None:
    made = experiment(size=2, generations=30, perturbation=perturbation, resample=resample)
    study = Study(made.problem)
    for n in range(60):
        suggestion = study.ask()
        assert all(made.space[k].contains(v) for k, v in suggestion.assignments.items())
        tell(study, suggestion, float(n % 2))


def test_nothing_waits_own_members_go_on_while_others_run() -> None:
    study = Study(experiment().problem)
    first = [study.ask() for _ in range(4)]
    for suggestion, accuracy in zip(first[:3], (0.3, 0.2, 0.4), strict=True):
        tell(study, suggestion, accuracy)
    assert [study.ask().parent for _ in range(3)] == [0, 2, 2]


def test_a_failed_member_is_replaced_by_a_copy_of_the_best() -> None:
    study = Study(experiment().problem)
    for n in range(4):
        suggestion = study.ask()
        state = TrialState.FAILED if n == 2 else TrialState.SUCCEEDED
        study.tell(toy_trial(suggestion.number, state=state, accuracy=0.1 * n))
    assert [study.ask().parent for _ in range(4)] == [3, 1, 3, 3]


def test_a_stopped_trial_has_no_checkpoint_and_is_no_parent() -> None:
    study = Study(experiment(size=2).problem)
    states = (TrialState.SUCCEEDED, TrialState.STOPPED)
    for state, accuracy in zip(states, (0.1, 0.9), strict=True):
        study.tell(toy_trial(study.ask().number, state=state, accuracy=accuracy))
    assert [study.ask().parent for _ in range(2)] == [0, 0]


def test_where_a_whole_generation_failed_members_are_born_anew() -> None:
    study = Study(experiment(size=2).problem)
    for _ in range(2):
        study.tell(toy_trial(study.ask().number, state=TrialState.FAILED))
    newborn = study.ask()
    assert newborn.parent is None
    assert newborn.assignments.keys() == SPACE.keys()


def test_start_configurations_are_the_first_members() -> None:
    start = {
        "learning_rate": 0.01,
        "weight_decay": 0.05,
        "adam_beta1": 0.7,
        "max_grad_norm": 3,
        "label_smoothing_factor": 0.2,
    }
    made = experiment()
    made = made.model_copy(update={"search": made.search.model_copy(update={"start": (start,)})})
    study = Study(made.problem)
    assert study.ask().assignments == start
    assert study.ask().assignments != start


def test_a_study_goes_on_in_another_process_as_in_its_own(tmp_path) -> None:
    def run(make_study) -> list[Suggestion]:
        found = []
        for n in range(12):
            study = make_study()
            found.append(study.ask())
            tell(study, found[-1], (n * 37 % 11) / 11)
        return found

    memory, journal = InMemoryStorage(), tmp_path / "journal.log"
    whole = run(lambda: Study(experiment().problem, memory))
    assert run(lambda: Study(experiment().problem, open_journal(journal))) == whole


def test_a_crash_while_asking_changes_nothing(tmp_path) -> None:
    def study() -> Study:
        return Study(experiment(size=2, resample=0.5).problem, open_journal(journal))

    journal = tmp_path / "journal.log"
    for accuracy in (0.9, 0.1):
        suggestion = study().ask()
        tell(study(), suggestion, accuracy)  # opened after it: a journal has one writer at a time
    before = len(journal.read_bytes())
    suggestions = [study().ask() for _ in range(2)]
    whole = journal.read_bytes()
    lines = whole[before:].splitlines(keepends=True)
    begun = next(i for i, line in enumerate(lines) if b'"parent"' in line)
    for kept in range(begun + 1, len(lines) + 1):
        journal.write_bytes(whole[:before] + b"".join(lines[:kept]))
        for unfinished in study().unfinished():
            assert unfinished == suggestions[unfinished.number - 2]


@pytest.mark.parametrize(
    ("section", "text", "said"),
    [
        ("space", "{model.hidden_size: {type: int, low: 8, high: 16}}", "it may vary learning_r"),
        ("space", "{warmup_steps: {type: float, low: 0.0, high: 0.3}}", "fix this one in the task"),
        ("stopping", "{algorithm: median}", "stopping.algorithm: must be none with pbt"),
        (
            "objective",
            "[{metric: accuracy, goal: maximize}, {metric: loss, goal: minimize}]",
            "search.algorithm: pbt serves one objective",
        ),
        ("budget", "{trials: 10}", "at least 8, .* got 10, try 8 or 12"),
        ("budget", "{trials: 4}", "at least 8, .* got 4, try 8 or 12"),
        ("budget", "{trials: 8, parallel: 5}", r"budget.parallel: at most the population \(4\)"),
        (
            "search",
            "{algorithm: pbt, settings: {population: 4}, warm_start: [runs/old]}",
            "search.warm_start: pbt learns nothing from it",
        ),
        (
            "search",
            "{algorithm: pbt, settings: {population: 2}, start: ["
            + ", ".join(f"{{learning_rate: 0.0{n}}}" for n in (1, 2, 3))
            + "]}",
            "search.start: at most 2 entries, .* got 3",
        ),
    ],
)
def test_what_does_not_fit_a_population_is_refused(
    write_experiment, section: str, text: str, said: str
) -> None:
    fitting = {
        "search": "{algorithm: pbt, settings: {population: 4}}",
        "budget": "{trials: 8}",
    }
    _, faults, _ = read(write_experiment(**fitting))
    assert faults == []
    _, faults, _ = read(write_experiment(**{**fitting, section: text}))
    assert len(faults) == 1
    assert re.search(said, faults[0])


def test_another_number_of_intervals_is_another_experiment() -> None:
    three, four = experiment(generations=3), experiment(generations=4)
    assert three.identity() != four.identity()
