"""The real libraries, where they are installed: `pip install "ray[tune]" hyperopt keras-tuner`."""

import math

import numpy as np
import pytest

from hpo_pipeline.spaces import from_hyperopt, from_keras_tuner, from_ray_tune


def test_ray_tune():
    tune = pytest.importorskip("ray.tune")
    found = from_ray_tune(
        {
            "lr": tune.loguniform(1e-4, 1e-2),
            "q": tune.quniform(3.2, 5.4, 0.2),
            "n": tune.randint(-9, 15),
            "noise": tune.randn(10, 2),
            "size": tune.sample_from(lambda _: 2 ** np.random.randint(2, 6)),
        }
    )
    assert found.parameters["lr"]["log"] is True
    assert found.parameters["q"]["step"] == 0.2
    assert found.parameters["n"] == {"type": "int", "low": -9, "high": 14}
    assert found.parameters["size"]["values"] == [4, 8, 16, 32]
    assert len(found.lost) == 1


def test_hyperopt():
    hp = pytest.importorskip("hyperopt").hp
    options = [{"type": "svm", "C": hp.uniform("C", 0, 1)}, {"type": "tree"}]
    found = from_hyperopt(
        {
            "lr": hp.loguniform("lr", math.log(1e-5), 0),
            "n": hp.uniformint("n", 1, 4),
            "kind": hp.choice("kind", options),
        }
    )
    assert found.parameters["n"] == {"type": "int", "low": 1, "high": 4}
    assert found.parameters["C"]["when"] == {"kind": "svm"}


def test_keras_tuner():
    hyperparameters = pytest.importorskip("keras_tuner").HyperParameters()
    hyperparameters.Choice("model", ["mlp", "cnn"])
    hyperparameters.Int("wide", 2, 16, step=2, sampling="log")
    with hyperparameters.conditional_scope("model", ["cnn"]):
        hyperparameters.Int("filters", 8, 64)
    found = from_keras_tuner(hyperparameters)
    assert found.parameters["wide"]["values"] == [2, 4, 8, 16]
    assert found.parameters["filters"]["when"] == {"model": "cnn"}
