"""What a trial costs beside the user's own Trainer: the same Trainer trained without us.

    python -m benchmarks.own_trainer [--pairs 3] [--epochs 2]

Both fine-tune two layers of MiniLM on 1 000 tweets, on one thread, in a process of its own each,
and evaluate each epoch. A trial also reports, keeps the best weights, saves and measures the model.
Prints the ratios of the wall times of whole processes, imports included, and of processor times.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

CODE = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer

from hpo_pipeline.data.assets.source import model_source

MODEL = model_source("minilm")


def trainer(rows, arguments):
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForSequenceClassification.from_pretrained(MODEL, num_hidden_layers=2)

    def encoded(split):
        found = tokenizer(list(rows(split)["input"]), truncation=True, max_length=48)
        labels = [int(label == "positive") for label in rows(split)["label"]]
        return [
            {"input_ids": ids, "labels": label}
            for ids, label in zip(found["input_ids"], labels, strict=True)
        ]

    def accuracy(predicted):
        right = predicted.predictions.argmax(-1) == predicted.label_ids
        return {"accuracy": float(right.mean())}

    return Trainer(
        model=model,
        args=arguments,
        train_dataset=encoded("train"),
        eval_dataset=encoded("validation"),
        processing_class=tokenizer,
        compute_metrics=accuracy,
    )


def build(context):
    return trainer(context.split, context.arguments)
"""
ALONE = """
import sys
from functools import partial

from datasets import load_from_disk
from transformers import TrainingArguments

from mine import trainer

folder, output, epochs = sys.argv[1:]
arguments = TrainingArguments(
    output, num_train_epochs=float(epochs), learning_rate=1e-4, eval_strategy="epoch",
    save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True,
)
trainer(lambda split: load_from_disk(f"{folder}/{split}"), arguments).train()
"""


def main() -> None:
    """Time pairs and print their ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "mine.py").write_text(CODE, "utf-8")
        (place / "alone.py").write_text(ALONE, "utf-8")
        trial, dataset = _trial(place, options.epochs)
        for pair in range(options.pairs):
            alone = [sys.executable, "alone.py", str(dataset), f"out-{pair}", str(options.epochs)]
            ours = [arg.replace("TRIAL", f"t-{pair}") for arg in trial]
            found.append((_timed(ours, place), _timed(alone, place)))
            (wall, cpu), (bare_wall, bare_cpu) = found[-1]
            print(
                f"wall {wall:.1f} s against {bare_wall:.1f} s: {wall / bare_wall:.3f}; "
                f"cpu {cpu:.1f} s against {bare_cpu:.1f} s: {cpu / bare_cpu:.3f}",
                flush=True,
            )
    for i, what in enumerate(("wall", "cpu")):
        print(f"{what}: median {statistics.median(a[i] / b[i] for a, b in found):.3f}")


def _trial(place: Path, epochs: int) -> tuple[list[str], Path]:
    """Return the command of a trial, whose name is TRIAL, and the folder of its data."""
    from hpo_pipeline.data.prepare import prepare
    from hpo_pipeline.experiment.loading import load
    from hpo_pipeline.trial.command import TrialCommand

    sections = {
        "name": "own",
        "task": {
            "kind": "custom",
            "trainer": "mine:build",
            "data": "tweets",
            "rows": {"train": 1000, "validation": 600, "test": 100},
            "training": {"num_train_epochs": epochs},
        },
        "objective": {"metric": "accuracy", "goal": "maximize"},
        "space": {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}},
        "budget": {"trials": 1},
    }
    file = place / "own.yaml"
    file.write_text(yaml.safe_dump(sections), "utf-8")
    dataset = prepare(load(file), place / "data")
    values = {"learning_rate": "1e-4"}
    command = TrialCommand(file, dataset, place / "trials", "TRIAL", 0, values, seed=0)
    return [sys.executable, "-m", "hpo_pipeline.trial", *command.argv()], dataset


def _timed(command: list[str], place: Path) -> tuple[float, float]:
    """Return wall and processor time of a command in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
