"""The trials through Ray Tune: a trainable over transformers.Trainer, one core for each trial."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from benchmarks.peers.training import LAYERS, Work


def run(work: Work) -> list[float]:
    """Run the trials side by side and return the accuracy of each after its last epoch."""
    import ray
    from ray import tune
    from transformers import TrainerCallback

    class Report(TrainerCallback):
        """Gives Tune each evaluation."""

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **other: Any):
            tune.report({"accuracy": metrics["eval_accuracy"]})

    def trial(config: dict[str, Any], rows: tuple[Any, Any]) -> None:
        own = dict(config["configuration"])
        with tempfile.TemporaryDirectory() as folder:
            model = work.model(own.pop(LAYERS))
            trainer = work.trainer(folder, *rows, model=model, **own)
            trainer.add_callback(Report())
            trainer.train()

    ray.init(
        num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        rows = work.rows("train"), work.rows("validation")
        tuner = tune.Tuner(
            tune.with_parameters(tune.with_resources(trial, {"cpu": 1}), rows=rows),
            param_space={"configuration": tune.grid_search([*map(dict, work.configurations)])},
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    return [float(result.metrics["accuracy"]) for result in results]
