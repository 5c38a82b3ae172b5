"""Experiments, trials and points that need neither files nor transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_pipeline.experiment.loading import read
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import Point, Trial, TrialState

LR = {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}
TASK = {"kind": "text-classification", "model": "some/model", "data": "some/data"}


def toy_experiment(**sections: Any) -> Experiment:
    """Return a small experiment; keyword arguments replace whole sections."""
    content: dict[str, Any] = {
        "name": "toy",
        "task": TASK,
        "objective": {"metric": "accuracy", "goal": "maximize"},
        "space": {"learning_rate": LR},
        "search": {"algorithm": "random", "seed": 1},
        "stopping": {"algorithm": "none"},
        "baseline": "none",
        "budget": {"trials": 10},
    }
    return Experiment.model_validate({**content, **sections})


def toy_trial(
    number: int = 0,
    *,
    state: TrialState = TrialState.SUCCEEDED,
    curve: tuple[Point, ...] = (),
    **metrics: float,
) -> Trial:
    """Return a trial that ended with these metrics."""
    assignments = {"learning_rate": 1e-3}
    name = f"toy-{number}"
    return Trial(name, number, state, assignments, metrics=metrics, curve=curve)


def toy_curve(*values: float, metric: str = "accuracy") -> tuple[Point, ...]:
    """Return a curve with these values at the steps 1, 2, …"""
    return tuple(
        Point(step, training_step=10 * step, epoch=float(step), metrics={metric: value})
        for step, value in enumerate(values, start=1)
    )


def faults_of(folder: Path, **sections: str) -> list[str]:
    """Return the faults of a small experiment file, whose sections are given as YAML."""
    content = {
        "name": "toy",
        "task": "{kind: text-classification, model: some/model, data: some/data}",
        "objective": "{metric: accuracy, goal: maximize}",
        "space": "{learning_rate: {type: float, low: 1.0e-5, high: 1.0e-1, log: true}}",
        "budget": "{trials: 10}",
        **sections,
    }
    file = folder / "toy.yaml"
    file.write_text("".join(f"{name}: {text}\n" for name, text in content.items()), "utf-8")
    return read(file)[1]
