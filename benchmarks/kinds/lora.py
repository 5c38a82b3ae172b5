"""LoRA against full fine-tuning of the six-layer MiniLM on tweets, over several seeds.

    python benchmarks/kinds/lora.py [--seeds 3]

Both train on the same 1 000 rows for two epochs and are measured on 1 000 test rows. Prints the
accuracy of each seed, the means, and the share of the parameters that LoRA trains.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from hpo_pipeline.data.prepare import prepare
from hpo_pipeline.experiment.loading import load
from hpo_pipeline.experiment.schema import Experiment
from hpo_pipeline.results.trial import read_trial
from hpo_pipeline.trial.__main__ import main as run_trial
from hpo_pipeline.trial.answering.evaluate import evaluate
from hpo_pipeline.trial.command import TrialCommand
from hpo_pipeline.trial.training.loading import load_data, load_model

LORA = Path(__file__).parents[2] / "experiments/tweets-lora.yaml"
WAYS = {
    "full": {"learning_rate": "2e-4"},
    "lora": {"learning_rate": "3e-3", "lora.rank": "8", "lora.targets": "query,value"},
}


def written(way: str, folder: Path) -> Path:
    """Write the experiment of one of the two ways and return its path."""
    text = LORA.read_text("utf-8").replace("schema=./", f"schema={LORA.parent}/")
    if way == "full":
        kept = (line for line in text.splitlines() if not line.lstrip().startswith("lora"))
        text = "\n".join(kept).replace("low: 3.0e-4", "low: 1.0e-5")
    file = folder / f"{way}.yaml"
    file.write_text(text, "utf-8")
    return file


def trained_share(experiment: Experiment, dataset: Path, values: dict[str, str]) -> float:
    """Return which share of the parameters a configuration trains."""
    task = experiment.task.assigned(experiment.space.parse(values))
    parameters = list(load_model(task, load_data(task, dataset)).parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return trained / sum(p.numel() for p in parameters)


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for way, short in WAYS.items():
            file = written(way, folder)
            experiment = load(file)
            values = {"warmup_steps": "0.1", **short}
            dataset = prepare(experiment, folder / "data")
            found = []
            for seed in seeds:
                name = f"{way}-{seed}"
                command = TrialCommand(
                    file, dataset, folder / "trials", name, seed, values, seed=seed
                )
                run_trial(command.argv())
                trial = read_trial(folder / "trials" / name)
                assert trial is not None
                model = folder / "trials" / name / "model"
                test = evaluate(experiment, dataset, model, experiment.task.max_length)
                found.append(test.metrics["accuracy"])
                print(f"{name}: {found[-1]:.4f}, {trial.seconds['train']:.0f} s", flush=True)
            share = trained_share(experiment, dataset, values)
            print(f"{way}: mean {statistics.mean(found):.4f}, {share:.2%} of the parameters")


if __name__ == "__main__":
    main()
