"""Twelve fixed configurations of experiments/tweets.yaml, which several benchmarks train."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import yaml

EXPERIMENT = Path(__file__).parent.parent / "experiments" / "tweets.yaml"


def configurations(count: int) -> list[dict[str, float | int]]:
    """Return fixed configurations, spread over the space of the experiment."""
    rng = random.Random(0)
    return [
        {
            "learning_rate": round(10 ** rng.uniform(-5, -2.7), 7),
            "per_device_train_batch_size": (8, 16, 32)[i % 3],
            "warmup_steps": round(rng.uniform(0, 0.3), 3),
            "model.num_hidden_layers": 2 + i % 2,
        }
        for i in range(count)
    ]


def experiment_file(
    folder: Path, chosen: list[dict[str, float | int]], *, seed: int = 0, **task: object
) -> Path:
    """Write the experiment that trains the configurations and nothing else; return its file.

    Args:
        seed: of the weights and of the order of the rows.
        task: fields of the task in place of those of the example.
    """
    experiment = yaml.safe_load(EXPERIMENT.read_text())
    experiment["task"].update(task)
    experiment["search"] = {"algorithm": "random", "seed": seed, "start": chosen}
    experiment["stopping"] = {"algorithm": "none"}
    experiment["baseline"] = "none"
    experiment["budget"] = {"trials": len(chosen), "parallel": os.cpu_count()}
    for name in ("register", "constraints"):
        experiment.pop(name, None)
    # The space of the example may be narrower than the configurations.
    experiment["space"] = {
        "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
        "per_device_train_batch_size": {"type": "choice", "values": [8, 16, 32]},
        "warmup_steps": {"type": "float", "low": 0.0, "high": 0.3},
        "model.num_hidden_layers": {"type": "int", "low": 2, "high": 3},
    }
    file = folder / "tweets.yaml"
    file.write_text(yaml.safe_dump(experiment))
    return file


def last_result(run: Path) -> float:
    """Return when a run had its last result, in seconds since 1970."""
    lines = (run / "timeline.jsonl").read_text().splitlines()
    return max(json.loads(line)["time"] for line in lines)
