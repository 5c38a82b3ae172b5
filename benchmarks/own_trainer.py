"""What a trial costs beside the user's own Trainer: the same Trainer trained without us.

    python -m benchmarks.own_trainer [--pairs 6] [--epochs 4]

Both fine-tune two layers of MiniLM on 1 000 tweets, on one thread, in a process of its own each,
and evaluate each epoch. A trial also reports, keeps the best weights, saves and measures the model.
The two of a pair run at the same time, each on a core of its own, and the next pair swaps the
cores: the speed of a machine that others share changes by more than what is looked for. Prints the
ratios of the times of whole processes, imports included, and their mean with its standard error.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from benchmarks.cores import cores_of

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
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "mine.py").write_text(CODE, "utf-8")
        (place / "alone.py").write_text(ALONE, "utf-8")
        trial, dataset = _trial(place, options.epochs)
        for pair in range(options.pairs):
            alone = [sys.executable, "alone.py", str(dataset), f"out-{pair}", str(options.epochs)]
            ours = [arg.replace("TRIAL", f"t-{pair}") for arg in trial]
            first, second = cores_of(pair)
            with ThreadPoolExecutor(2) as both:
                one = both.submit(_timed, ours, place, first)
                other = both.submit(_timed, alone, place, second)
                times = one.result(), other.result()
            ratios.append(times[0] / times[1])
            print(f"{times[0]:.1f} s against {times[1]:.1f} s: {ratios[-1]:.3f}", flush=True)
    spread = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
    print(f"mean {statistics.mean(ratios):.3f} +- {spread:.3f}")


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


def _timed(command: list[str], place: Path, core: int) -> float:
    """Return the wall time in seconds of a command that runs on one core."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    pinned = ["taskset", "--cpu-list", str(core), *command]
    start = time.perf_counter()
    done = subprocess.run(
        pinned, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return wall


if __name__ == "__main__":
    main()
