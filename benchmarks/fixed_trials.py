"""Trials per minute: `hpo run` against plain loops over transformers.Trainer in one process.

The same twelve configurations of experiments/tweets.yaml, the same rows, the same machine, one
after the other in one run:

    plain    one process, torch's default threads; each configuration tokenises its rows, pads
             them to max_length, evaluates with Trainer's default batch, and saves a checkpoint
             each epoch, to load the best at the end: what the tutorials show
    careful  the same process, but tokenised once, padded to the longest of a batch, evaluated
             in batches of 64, and without checkpoints
    ours     `hpo run` with two trials in parallel; its start-up, practical metrics and models
             included, the final evaluation and the report left out

    python benchmarks/fixed_trials.py [--only plain|careful|ours] [--trials 12]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
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


def loop(dataset: Path, chosen: list[dict[str, float | int]], *, careful: bool) -> None:
    """Train every configuration in this process."""
    import numpy as np
    from datasets import load_from_disk
    from sklearn.metrics import accuracy_score, f1_score
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
    )

    from hpo_pipeline.data.assets import fetch

    source = str(fetch("minilm"))
    tokenizer = AutoTokenizer.from_pretrained(source)

    def rows(split: str):
        texts = load_from_disk(str(dataset / split)).select_columns(["input", "label"])
        padding = False if careful else "max_length"
        return texts.map(
            lambda batch: tokenizer(
                batch["input"], truncation=True, max_length=48, padding=padding
            ),
            batched=True,
            remove_columns=["input"],
            load_from_cache_file=False,
        )

    def metrics(predicted):
        classes = np.argmax(predicted.predictions, axis=-1)
        return {
            "accuracy": accuracy_score(predicted.label_ids, classes),
            "f1": f1_score(predicted.label_ids, classes),
        }

    frugal = {"per_device_eval_batch_size": 64, "save_strategy": "no"}
    usual = {"save_strategy": "epoch", "load_best_model_at_end": True}
    once = (rows("train"), rows("validation")) if careful else None
    for chosen_one in chosen:
        train, validation = once or (rows("train"), rows("validation"))
        arguments = dict(chosen_one)
        layers = arguments.pop("model.num_hidden_layers")
        model = AutoModelForSequenceClassification.from_pretrained(
            source, num_hidden_layers=layers, num_labels=2
        )
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                model=model,
                args=TrainingArguments(
                    output_dir=folder,
                    num_train_epochs=2,
                    eval_strategy="epoch",
                    report_to="none",
                    disable_tqdm=True,
                    **(frugal if careful else usual),
                    **arguments,
                ),
                train_dataset=train,
                eval_dataset=validation,
                processing_class=tokenizer,
                compute_metrics=metrics,
            )
            trainer.train()


def experiment_file(folder: Path, chosen: list[dict[str, float | int]], **task: object) -> Path:
    """Write the experiment that trains the configurations and nothing else; return its file.

    Args:
        task: fields of the task in place of those of the example.
    """
    experiment = yaml.safe_load(EXPERIMENT.read_text())
    experiment["task"].update(task)
    experiment["search"] = {"algorithm": "random", "seed": 0, "start": chosen}
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


def ours(folder: Path, chosen: list[dict[str, float | int]]) -> float:
    """Run the configurations with `hpo run` and return its seconds up to the last result."""
    file, run = experiment_file(folder, chosen), folder / "r"
    start = time.time()
    command = [sys.executable, "-m", "hpo_pipeline", "run", str(file), "--run", str(run)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return last_result(run) - start


def main() -> None:
    """Time all three, or one, and print trials per minute."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["plain", "careful", "ours"])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--dataset", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = configurations(options.trials)
    if options.dataset:  # in the child process of a loop
        loop(options.dataset, chosen, careful=options.only == "careful")
        return
    from hpo_pipeline.data.prepare import prepare
    from hpo_pipeline.experiment.loading import load

    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = prepare(load(EXPERIMENT), folder)
        for kind in ("ours", "careful", "plain"):
            if options.only not in (None, kind):
                continue
            if kind == "ours":
                seconds[kind] = ours(folder, chosen)
            else:
                command = [sys.executable, __file__, "--only", kind, "--dataset", str(dataset)]
                command += ["--trials", str(options.trials)]
                start = time.time()
                subprocess.run(
                    command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                seconds[kind] = time.time() - start
            rate = options.trials / seconds[kind] * 60
            print(f"{kind:8} {seconds[kind]:7.1f} s  {rate:5.2f} trials a minute", flush=True)
    if len(seconds) == 3:
        for kind in ("careful", "plain"):
            print(f"ours is {seconds[kind] / seconds['ours']:.2f} x {kind}")
    print(f"{os.cpu_count()} cores, {options.trials} trials")


if __name__ == "__main__":
    main()
