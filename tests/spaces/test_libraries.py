"""Spaces of other libraries in Python: each construct of their documentation, and what is lost."""

from __future__ import annotations

import json
import math
import random
from types import SimpleNamespace

import numpy as np
import optuna
import pytest

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.space import Space
from hpo_pipeline.spaces import (
    from_hyperopt,
    from_keras_tuner,
    from_nni,
    from_optuna,
    from_ray_tune,
)
from hpo_pipeline.spaces.drawing_functions import drawn
from tests.spaces.standins import Boolean, Choice, Fixed, FloatHp, Int, hp, tune


def is_right(found) -> bool:
    """Return whether our schema takes a space that was carried over."""
    return bool(Space.model_validate(json.loads(json.dumps(found.parameters))))


def test_the_space_of_the_talk():
    found = from_ray_tune(
        {
            "learning_rate": tune.loguniform(1e-4, 1e-2),
            "num_train_epochs": tune.choice([1, 2, 3, 4, 5]),
            "seed": tune.choice(range(1, 41)),
            "per_device_train_batch_size": tune.sample_from(lambda _: 2 ** np.random.randint(2, 6)),
        }
    )
    assert found.space["learning_rate"] == {
        "type": "float",
        "low": 1e-4,
        "high": 1e-2,
        "log": True,
    }
    assert found.space["per_device_train_batch_size"]["values"] == [4, 8, 16, 32]
    assert "2 ** np.random.randint(2, 6)" in found.notes[0]
    assert is_right(found)


def test_every_distribution_of_ray_tune():
    found = from_ray_tune(
        {
            "uniform": tune.uniform(-5, -1),
            "quniform": tune.quniform(3.2, 5.4, 0.2),
            "loguniform": tune.loguniform(1e-4, 1e-2),
            "qloguniform": tune.qloguniform(1e-4, 1e-1, 5e-5),
            "randint": tune.randint(-9, 15),
            "qrandint": tune.qrandint(-21, 12, 3),
            "lograndint": tune.lograndint(1, 10),
            "choice": tune.choice(["a", "b", "c"]),
            "grid": tune.grid_search([32, 64, 128]),
            "constant": 7,
            "nested": {"width": tune.uniform(0, 1)},
        }
    )
    space = found.space
    assert space["quniform"] == {"type": "float", "low": 3.2, "high": 5.4, "step": 0.2}
    assert space["randint"] == {"type": "int", "low": -9, "high": 14}
    assert space["qrandint"] == {"type": "int", "low": -21, "high": 12, "step": 3}
    assert space["lograndint"] == {"type": "int", "low": 1, "high": 9, "log": True}
    assert space["grid"]["values"] == [32, 64, 128]
    assert space["nested_width"]["type"] == "float"
    assert found.fixed == {"constant": 7}
    assert any("step 5e-05 is not kept" in note for note in found.notes)
    assert is_right(found)


def test_what_has_no_counterpart_is_named_with_what_to_write():
    found = from_ray_tune(
        {
            "noise": tune.randn(10, 2),
            "layers": tune.choice([[64, 64], [128]]),
            "width": tune.sample_from(lambda spec: spec.config.noise * 2),
            "lr": tune.uniform(0, 1),
        }
    )
    with pytest.raises(ExperimentError) as caught:
        _ = found.space
    text = str(caught.value)
    assert "noise: is drawn from a normal distribution; write a range: {type: float, low: 6" in text
    assert "layers: the value [64, 64] is neither a number nor a text" in text
    assert "width: sample_from is a function, which is not run here" in text
    assert list(found.parameters) == ["lr"]


def never():
    """Draw from somewhere else."""
    raise AssertionError("a function was run")


def documented():
    """Return a power."""
    return 10 ** np.random.uniform(-4, -2)


@pytest.mark.parametrize(
    ("function", "right"),
    [
        (lambda _: 2 ** np.random.randint(2, 6), (4, 8, 16, 32)),
        (lambda _: 2 ** random.randint(2, 4), (4, 8, 16)),
        (lambda spec: np.random.choice([1, 3]), (1, 3)),
        (lambda _: int(2 ** np.random.randint(1, 3)), (2, 4)),
    ],
)
def test_functions_whose_values_are_known(function, right):
    assert drawn(function).values == right


def test_functions_are_read_and_never_run():
    assert drawn(never) is None
    assert drawn(lambda _: never()) is None
    assert drawn(lambda _: np.random.uniform(100) ** 2) is None
    assert drawn(eval("lambda _: 2 ** 3")) is None
    found = drawn(documented)
    assert (found.low, found.high, found.is_log) == (1e-4, 1e-2, True)


def test_names_are_changed_where_asked_or_needed():
    found = from_ray_tune(
        {"lr": tune.uniform(0, 1), "batch-size": tune.choice([1, 2])}, names={"lr": "learning_rate"}
    )
    assert list(found.space) == ["learning_rate", "batch_size"]
    assert found.notes == (
        "batch-size: is called batch_size here, where names have letters, digits and _",
    )


def hp_space(trial):
    """Ask as the documentation of Trainer.hyperparameter_search does."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True),
        "per_device_train_batch_size": trial.suggest_categorical(
            "per_device_train_batch_size", [16, 32, 64, 128]
        ),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 1, 5),
    }


def test_the_function_of_a_trainer():
    space = from_optuna(hp_space).space
    assert space["learning_rate"] == {"type": "float", "low": 1e-6, "high": 1e-4, "log": True}
    assert space["per_device_train_batch_size"]["values"] == [16, 32, 64, 128]
    assert space["num_train_epochs"] == {"type": "int", "low": 1, "high": 5}


def test_branches_of_a_function_become_conditions():
    def branching(trial):
        kind = trial.suggest_categorical("classifier", ["SVC", "forest"])
        if kind == "SVC":
            trial.suggest_float("svc_c", 1e-10, 1e10, log=True)
        else:
            trial.suggest_int("max_depth", 2, 32, log=True)

    found = from_optuna(branching)
    assert found.space["svc_c"]["when"] == {"classifier": "SVC"}
    assert found.space["max_depth"]["when"] == {"classifier": "forest"}
    assert is_right(found)


def test_distributions_and_studies_of_optuna():
    distributions = {
        "x": optuna.distributions.FloatDistribution(0, 1, step=0.25),
        "n": optuna.distributions.IntDistribution(2, 10, step=2),
        "c": optuna.distributions.CategoricalDistribution(["a", "b"]),
    }
    found = from_optuna(distributions)
    assert found.space["x"] == {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25}
    assert found.space["n"] == {"type": "int", "low": 2, "high": 10, "step": 2}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    study.ask(distributions)
    assert from_optuna(study).parameters == found.parameters


def test_hyperopt():
    found = from_hyperopt(
        {
            "lr": hp.loguniform("lr", math.log(1e-5), math.log(1e-2)),
            "dropout": hp.uniform("dropout", 0, 0.5),
            "units": hp.quniform("units", 32, 128, 32),
            "layers": hp.uniformint("layers", 1, 4),
            "seed": hp.randint("seed", 10),
            "kind": hp.choice(
                "kind",
                [
                    {"type": "svm", "C": hp.uniform("C", 0, 1)},
                    {"type": "tree", "depth": hp.quniform("depth", 2, 8, 1)},
                ],
            ),
            "optimizer": hp.choice("optimizer", ["adam", "sgd"]),
        }
    )
    space = found.space
    assert space["lr"] == {"type": "float", "low": 1e-5, "high": 1e-2, "log": True}
    assert space["units"] == {"type": "int", "low": 32, "high": 128, "step": 32}
    assert space["layers"] == {"type": "int", "low": 1, "high": 4}
    assert space["seed"] == {"type": "int", "low": 0, "high": 9}
    assert space["C"]["when"] == {"kind": "svm"}
    assert space["depth"] == {"type": "int", "low": 2, "high": 8, "when": {"kind": "tree"}}
    assert is_right(found)
    fixed = from_hyperopt(hp.choice("a", [{"type": "b", "lr": 0.5}, {"type": "c"}]))
    assert fixed.notes == ("lr is 0.5 where a is b; your code has to know",)
    lost = from_hyperopt(hp.normal("x", 0, 1)).lost
    assert "x: is drawn from a normal distribution" in lost[0]


def test_keras_tuner():
    parent = SimpleNamespace(name="model", values=["cnn"])
    declared = [
        Choice(name="model", values=["mlp", "cnn"], conditions=[]),
        Int(name="units", min_value=32, max_value=512, step=32, sampling="linear", conditions=[]),
        Int(name="wide", min_value=2, max_value=16, step=2, sampling="log", conditions=[]),
        FloatHp(
            name="lr", min_value=1e-4, max_value=1e-2, step=None, sampling="log", conditions=[]
        ),
        Boolean(name="dropout", conditions=[parent]),
        Fixed(name="epochs", value=3, conditions=[]),
        FloatHp(name="m", min_value=0.1, max_value=1, step=None, sampling="reverse_log"),
    ]
    found = from_keras_tuner(SimpleNamespace(space=declared))
    assert found.parameters["units"] == {"type": "int", "low": 32, "high": 512, "step": 32}
    assert found.parameters["wide"]["values"] == [2, 4, 8, 16]
    assert found.parameters["dropout"]["when"] == {"model": "cnn"}
    assert found.fixed == {"epochs": 3}
    assert "m: is denser towards its high end" in found.lost[0]
    assert is_right(found)


def test_nni():
    found = from_nni(
        {
            "dropout_rate": {"_type": "uniform", "_value": [0.1, 0.5]},
            "conv_size": {"_type": "choice", "_value": [2, 3, 5, 7]},
            "hidden": {"_type": "quniform", "_value": [2, 10, 1]},
            "lr": {"_type": "loguniform", "_value": [0.0001, 0.1]},
            "seed": {"_type": "randint", "_value": [0, 10]},
            "noise": {"_type": "qnormal", "_value": [0, 1, 0.1]},
            "layer0": {
                "_type": "choice",
                "_value": [
                    {"_name": "Empty"},
                    {"_name": "Conv", "kernel": {"_type": "choice", "_value": [1, 2, 3]}},
                ],
            },
        }
    )
    assert found.parameters["hidden"] == {"type": "int", "low": 2, "high": 10}
    assert found.parameters["seed"] == {"type": "int", "low": 0, "high": 9}
    assert found.parameters["layer0_Conv_kernel"]["when"] == {"layer0": "Conv"}
    assert len(found.lost) == 1
    assert is_right(found)


def test_what_is_below_the_only_option_of_a_choice_has_no_condition():
    option = {"_name": "Conv", "kernel": {"_type": "choice", "_value": [1, 2]}}
    found = from_nni({"layer": {"_type": "choice", "_value": [option]}})
    assert found.fixed == {"layer": "Conv"}
    assert found.parameters == {"layer_Conv_kernel": {"type": "choice", "values": [1, 2]}}
