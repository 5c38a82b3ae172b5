"""Confirming with other seeds: the plan and the sums on made-up results, and real runs."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.confirmation import (
    confirm,
    confirmed_winner,
    no_winner,
    planned,
)
from hpo_pipeline.results.run_folder import RunFolder
from hpo_pipeline.results.trial import Trial, TrialState, read_trial
from tests import nursery
from tests.toys import faults_of, toy_experiment, toy_trial


def experiment(top: int = 2, seeds: int = 3, **sections: Any) -> Experiment:
    return toy_experiment(confirm={"top": top, "seeds": seeds}, **sections)


def searched(*accuracies: float, **metrics: float) -> list[Trial]:
    """Return trials of different configurations with these results."""
    return [
        replace(toy_trial(i, accuracy=a, **metrics), assignments={"learning_rate": i / 10})
        for i, a in enumerate(accuracies)
    ]


def runs(
    of: Experiment, trials: list[Trial], found: dict[int, list[float | None]], **metrics: float
) -> list[Trial]:
    """Return a run for each accuracy that a trial's number has; None is a run that failed."""
    results = []
    for run in planned(of, trials):
        values = found.get(run.trial.number, [])
        place = run.seed - of.search.seed - 1
        if place < len(values):
            value = values[place]
            ended = toy_trial(run.number, accuracy=value or 0.0, **metrics)
            if value is None:
                ended = replace(ended, state=TrialState.FAILED, metrics={}, reason="out of memory")
            results.append(replace(ended, name=run.name))
    return results


def test_the_best_configurations_are_planned_with_the_same_other_seeds() -> None:
    plan = planned(experiment(), searched(0.7, 0.9, 0.8))
    assert [run.name for run in plan] == [
        *("toy-1-s2", "toy-1-s3", "toy-1-s4"),
        *("toy-2-s2", "toy-2-s3", "toy-2-s4"),
    ]
    assert {run.seed for run in plan} == {2, 3, 4}  # the search has 1
    assert len({run.number for run in plan}) == 6


def test_a_run_is_the_same_whatever_else_is_planned() -> None:
    trials = searched(0.7, 0.9, 0.8)
    few = {run.name: run.number for run in planned(experiment(), trials[:2])}
    many = {run.name: run.number for run in planned(experiment(3, 9), trials)}
    assert few.items() <= many.items()


def test_the_same_configuration_is_planned_once_and_what_misses_a_constraint_never() -> None:
    trials = searched(0.9, 0.8, 0.7, 0.99)
    trials[1] = replace(trials[1], assignments=trials[0].assignments)
    of = experiment(top=3, constraints=["accuracy <= 0.95"])
    assert list(dict.fromkeys(run.trial.number for run in planned(of, trials))) == [0, 2]


def test_the_best_mean_wins_and_the_search_does_not_count() -> None:
    trials = searched(0.99, 0.9)  # the first was lucky
    ended = runs(experiment(), trials, {0: [0.7, 0.9, 0.8], 1: [0.85, 0.86, 0.87]})
    first, second = confirm(experiment(), trials, ended)
    assert (first.trial, second.trial) == ("toy-1", "toy-0")
    assert first.seeds == (2, 3, 4)
    assert second.mean["accuracy"] == pytest.approx(0.8)
    assert second.std["accuracy"] == pytest.approx(0.1)
    assert confirmed_winner(experiment(), (first, second)) == first


@pytest.mark.parametrize(
    ("accuracies", "median"), [([0.7, 0.9, 0.8], "toy-0-s4"), ([0.7, 0.9], "toy-0-s2")]
)
def test_the_run_in_the_middle_stands_for_the_configuration(
    accuracies: list[float | None], median: str
) -> None:
    of = experiment(top=1, seeds=len(accuracies))
    (found,) = confirm(of, searched(0.9), runs(of, searched(0.9), {0: accuracies}))
    assert found.median == median


def test_constraints_hold_for_the_mean() -> None:
    of = experiment(constraints=["accuracy <= 0.9"])
    trials = searched(0.9, 0.8)
    ended = runs(of, trials, {0: [0.98, 0.98, 0.80], 1: [0.95, 0.8, 0.8]})
    confirmed = confirm(of, trials, ended)
    winner = confirmed_winner(of, confirmed)
    assert winner is not None
    assert winner.trial == "toy-1"
    both_above = confirm(of, trials, runs(of, trials, {0: [0.95] * 3, 1: [0.95] * 3}))
    assert confirmed_winner(of, both_above) is None
    assert "none of the 2 confirmed configurations" in no_winner(of, both_above)


def test_a_configuration_that_fails_with_a_seed_cannot_win() -> None:
    trials = searched(0.9, 0.8)
    ended = runs(experiment(), trials, {0: [0.99, None, 0.99], 1: [0.7, 0.7, 0.7]})
    best, failed = confirm(experiment(), trials, ended)
    assert best.trial == "toy-1"
    assert failed.failed == {"3": "out of memory"}
    assert failed.seeds == (2, 4)
    nothing = confirm(experiment(), trials, runs(experiment(), trials, {0: [None], 1: [None]}))
    assert confirmed_winner(experiment(), nothing) is None
    reason = "no configuration trained with all seeds: out of memory"
    assert no_winner(experiment(), nothing) == reason


def test_the_mean_of_a_formula_is_that_of_its_values() -> None:
    of = experiment(top=1, seeds=2, objective={"score": "accuracy ** 2", "goal": "maximize"})
    plan = planned(of, searched(0.5, score=0.25))
    ended = [
        replace(toy_trial(run.number, accuracy=a, score=a**2), name=run.name)
        for run, a in zip(plan, (0.0, 1.0), strict=True)
    ]
    (found,) = confirm(of, searched(0.5, score=0.25), ended)
    assert found.mean["score"] == 0.5


def test_several_objectives_are_weighed_on_the_scale_of_the_search() -> None:
    objectives = [
        {"metric": "accuracy", "goal": "maximize"},
        {"metric": "latency_p95_ms", "goal": "minimize"},
    ]
    of = experiment(objective=objectives)
    points = [(0.80, 9.0), (0.79, 8.0), (0.90, 100.0), (0.10, 1.0)]
    trials = [
        replace(
            toy_trial(i, accuracy=a, latency_p95_ms=ms), assignments={"learning_rate": float(i)}
        )
        for i, (a, ms) in enumerate(points)
    ]
    ended = [replace(run.trial, name=run.name, number=run.number) for run in planned(of, trials)]
    confirmed = confirm(of, trials, ended)
    assert [found.trial for found in confirmed] == ["toy-0", "toy-1"]


@pytest.mark.parametrize(
    ("sections", "fault"),
    [
        ({"confirm": "{seeds: 1}"}, "confirm.seeds: input should be greater than or equal to 2"),
        ({"confirm": "{top: 0}"}, "confirm.top: input should be greater than or equal to 1"),
        ({"confirm": "{top: 1.5}"}, "confirm.top: input should be a valid integer"),
        ({"confirm": "{seeds: 101}"}, "confirm.seeds: input should be less than or equal to 100"),
        ({"confirm": "{best: 3}"}, "confirm.best: unknown key; allowed are top, seeds"),
        ({"confirm": "yes please"}, "confirm: must be a mapping"),
        (
            {
                "confirm": "{}",
                "search": "{algorithm: pbt, settings: {population: 2}}",
            },
            "confirm: the winner of pbt changed its configuration while it trained",
        ),
    ],
)
def test_what_confirm_is_told_is_checked(
    sections: dict[str, str], fault: str, tmp_path: Path
) -> None:
    (found,) = faults_of(tmp_path, **sections)
    assert found.startswith(fault)


def hpo(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = nursery.command(*arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def models(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("confirm/trials/*/model"))


def test_a_real_run_is_confirmed_and_goes_on_after_a_kill(write_experiment, tmp_path) -> None:
    file = write_experiment(
        training="{num_train_epochs: 2, per_device_train_batch_size: 8}",
        budget="{trials: 3, parallel: 2}",
        confirm="{top: 2, seeds: 3}",
        register="{model: toy}",
    )
    folder = tmp_path / "run"
    with subprocess.Popen(
        nursery.killable("run", file, "--run", folder), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        printed = ""
        while "-s2 succeeded" not in printed:  # the first of six runs
            line = process.stdout.readline()
            assert line, printed
            printed += line
        os.kill(process.pid, signal.SIGKILL)
    before = {p.parent.name: p.read_text() for p in folder.glob("confirm/trials/*/result.json")}
    assert "confirming the best 2 with 3 other seeds each" in printed
    done = hpo("run", file, "--run", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    after = {p.parent.name: p.read_text() for p in folder.glob("confirm/trials/*/result.json")}
    assert before
    assert before.items() <= after.items()
    assert len(after) == 6

    status = json.loads(hpo("status", "--json", folder).stdout)
    best, second = status["confirmed"]
    results = [read_trial(folder / f"confirm/trials/{best['trial']}-s{s}") for s in best["seeds"]]
    losses = {result.metrics["loss"] for result in results}
    assert best["seeds"] == [2, 3, 4]
    assert len(losses) == 3  # the seed made a difference
    assert best["mean"]["accuracy"] >= second["mean"]["accuracy"]
    assert best["mean"]["loss"] == pytest.approx(statistics.fmean(losses))
    assert best["std"]["loss"] == pytest.approx(statistics.stdev(losses))
    assert status["winner"]["name"] == best["trial"]
    assert status["winner"]["run"] == best["median"]
    assert models(folder) == [best["median"]]
    assert f"{best['trial']}: accuracy " in done.stdout
    assert "±" in hpo("status", folder).stdout
    assert f"{best['median']}: succeeded" in hpo("show", best["median"], folder).stdout
    assert "Confirmed with 3 other seeds" in (folder / "model/README.md").read_text("utf-8")
    model = Path("model.safetensors")
    trained = folder / "confirm/trials" / best["median"] / "model" / model
    assert (folder / "model" / model).read_bytes() == trained.read_bytes()


def test_another_rule_chooses_again_without_another_search(write_experiment, tmp_path) -> None:
    def write(order: str) -> Path:
        return write_experiment(
            training="{num_train_epochs: 1, per_device_train_batch_size: 8}",
            objective="[{metric: loss, goal: minimize}, {metric: model_size_mb, goal: minimize}]",
            space="{model.num_hidden_layers: {type: int, low: 1, high: 2}, learning_rate: "
            "{type: choice, values: [0.01]}}",
            search="{algorithm: grid}",
            budget="{trials: 2, parallel: 2}",
            select=f"{{rule: lexicographic, order: [{order}]}}",
        )

    folder = tmp_path / "run"
    winners = []
    for order in ("model_size_mb, loss", "loss, model_size_mb"):
        done = hpo("run", write(order), "--run", folder)
        assert done.returncode == 0, done.stdout + done.stderr
        winners.append(RunFolder(folder).result().winner)
    small, good = winners
    assert small.metrics["model_size_mb"] < good.metrics["model_size_mb"]
    assert f"the model of {good.name} was not kept; it is trained again" in done.stdout
    searched = read_trial(folder / "trials" / good.name)
    assert good.run == f"{good.name}-s0"
    assert good.metrics["loss"] == searched.metrics["loss"]
    assert models(folder) == [good.run]
