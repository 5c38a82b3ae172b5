"""Spaces of other libraries as spaces of ours, read by their attributes: none of them is imported.

import hpo_pipeline as hpo
space = hpo.spaces.from_ray_tune({"learning_rate": tune.loguniform(1e-5, 1e-3)})
hpo.Experiment(space=space.space, ...)
"""

from __future__ import annotations

from hpo_pipeline.spaces.hyperopt import from_hyperopt
from hpo_pipeline.spaces.imported import Imported
from hpo_pipeline.spaces.keras_tuner import from_keras_tuner
from hpo_pipeline.spaces.nni import from_nni
from hpo_pipeline.spaces.optuna_space import from_optuna
from hpo_pipeline.spaces.ray_tune import from_ray_tune
from hpo_pipeline.spaces.wandb import from_wandb

__all__ = [
    "SOURCES",
    "Imported",
    "from_hyperopt",
    "from_keras_tuner",
    "from_nni",
    "from_optuna",
    "from_ray_tune",
    "from_wandb",
]

SOURCES = {
    "ray-tune": from_ray_tune,
    "optuna": from_optuna,
    "hyperopt": from_hyperopt,
    "keras-tuner": from_keras_tuner,
    "nni": from_nni,
}
"""The libraries whose spaces are Python objects, by the names that `hpo import --from` takes."""
