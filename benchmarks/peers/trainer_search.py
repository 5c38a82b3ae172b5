"""The trials through Trainer.hyperparameter_search with Optuna: one after another, one process."""

from __future__ import annotations

import tempfile
from typing import Any

from benchmarks.peers.training import LAYERS, Work


def run(work: Work) -> list[float]:
    """Run the trials and return the accuracy of each after its last epoch."""
    import optuna

    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name="peers", direction="maximize")
    for configuration in work.configurations:
        study.enqueue_trial(dict(configuration))

    def space(trial: Any) -> dict[str, Any]:
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
            "per_device_train_batch_size": trial.suggest_categorical(
                "per_device_train_batch_size", [8, 16, 32]
            ),
            "warmup_steps": trial.suggest_float("warmup_steps", 0.0, 0.3),
        }

    def model(trial: Any) -> Any:
        return work.model(3 if trial is None else trial.suggest_int(LAYERS, 2, 3))

    with tempfile.TemporaryDirectory() as folder:
        rows = work.rows("train"), work.rows("validation")
        # 0.1, as a field that starts as a whole number would round what the search gives it.
        trainer = work.trainer(folder, *rows, model_init=model, warmup_steps=0.1)
        trainer.hyperparameter_search(
            hp_space=space,
            compute_objective=lambda found: found["eval_accuracy"],
            n_trials=len(work.configurations),
            direction="maximize",
            backend="optuna",
            storage=storage,
            study_name="peers",
            load_if_exists=True,
            pruner=optuna.pruners.NopPruner(),  # all do the same work
        )
    return [float(trial.value) for trial in study.trials]
