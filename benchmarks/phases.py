"""Where the CPU time of one trial goes, phase by phase, without and with a change.

A trial is taken apart as trial/train.py puts it together: data, model, steps, evaluation, copy of
the best weights, save. Steps are timed part by part, and torch.profiler names the costliest
operations. CPU time hardly changes with what else the machine does, unlike wall time.

    python benchmarks/phases.py experiments/tweets.yaml [--steps 40] [--operations 12]
        [--set precision=auto] [--training optim=adamw_torch_fused]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

START = time.process_time()

import torch  # noqa: E402
import yaml  # noqa: E402

from hpo_pipeline.data.prepare import prepare  # noqa: E402
from hpo_pipeline.experiment.loading import load  # noqa: E402
from hpo_pipeline.trial.resuming.training_state import copy_weights  # noqa: E402
from hpo_pipeline.trial.training.trainings import TrialSpec, build_trainer  # noqa: E402


class Phases:
    """CPU seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the CPU time of a block."""
        start = time.process_time()
        yield
        self.seconds[name] += time.process_time() - start


def steps(trainer: Any, count: int, phases: Phases) -> int:
    """Train as the Trainer does, part by part; return the tokens, padding included."""
    model = trainer.model
    model.train()
    optimizer = trainer.create_optimizer()
    batches: Iterator[Any] = islice(cycle(trainer.get_train_dataloader()), count)
    tokens = 0
    while True:
        with phases.phase("step: batch"):
            batch = next(batches, None)
        if batch is None:
            return tokens
        tokens += next(iter(batch.values())).numel()
        with phases.phase("step: forward"), trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(model, batch)
        with phases.phase("step: backward"):
            trainer.accelerator.backward(loss)
        with phases.phase("step: clip"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), trainer.args.max_grad_norm)
        with phases.phase("step: optimiser"):
            optimizer.step()
        with phases.phase("step: zero gradients"):
            model.zero_grad()


def values(pairs: list[str]) -> dict[str, Any]:
    """Return `name=value` as YAML reads the values."""
    return {name: yaml.safe_load(value) for name, value in (pair.split("=", 1) for pair in pairs)}


def main() -> None:
    """Print the phases of a trial, and the costliest operations of its steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--operations", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="a field of `task`")
    parser.add_argument("--training", action="append", default=[], help="a training argument")
    parser.add_argument("--param", action="append", default=[], help="a value of the trial")
    options = parser.parse_args()
    experiment = load(options.experiment)
    task = experiment.task.model_copy(update=values(options.set))
    task = task.model_copy(update={"training": {**task.training, **values(options.training)}})
    task = task.assigned(values(options.param))
    phases = Phases()
    phases.seconds["imports"] = time.process_time() - START
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = prepare(experiment, folder)
        measured(task, dataset, folder, phases, options)


def measured(task: Any, dataset: Path, folder: Path, phases: Phases, options: Any) -> None:
    """Run the phases of a trial and print them."""
    spec = TrialSpec("t", 0, {}, dataset, folder, seed=0)
    with phases.phase("data and model"):
        built = build_trainer(task, spec, folder / "out")
    trainer = built.trainer
    steps(trainer, 2, Phases())  # the first step allocates
    tokens = steps(trainer, options.steps, phases)
    with phases.phase("evaluation"):
        trainer.evaluate()
    with phases.phase("copy of the best weights"):
        copy_weights(trainer.model)
    with phases.phase("save"):
        built.save(folder / "model")
    for phase, seconds in phases.seconds.items():
        each = f"{seconds / options.steps * 1000:8.1f} ms a step" if "step" in phase else ""
        print(f"{phase:28} {seconds:7.2f} s {each}")
    print(f"{tokens} tokens in {options.steps} steps, with padding")
    if options.operations:
        profiled(lambda: steps(trainer, 10, Phases()), options.operations)


def profiled(run: Callable[[], Any], rows: int) -> None:
    """Print the costliest operations of a function."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows))


if __name__ == "__main__":
    main()
