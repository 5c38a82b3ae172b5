"""The space in Optuna's terms: every kind of parameter, without a warning and without a loss."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_pipeline.experiment.space import Space
from hpo_pipeline.search.distributions import distributions


@pytest.mark.parametrize(
    ("parameter", "distribution"),
    [
        ({"type": "float", "low": 0, "high": 1}, FloatDistribution(0, 1)),
        (
            {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
            FloatDistribution(1e-5, 1e-1, log=True),
        ),
        ({"type": "float", "low": 0, "high": 1, "step": 0.1}, FloatDistribution(0, 1, step=0.1)),
        ({"type": "float", "low": 0, "high": 1, "step": 0.3}, FloatDistribution(0, 0.9, step=0.3)),
        (
            {"type": "float", "low": 0.1, "high": 0.75, "step": 0.2},
            FloatDistribution(0.1, 0.7, step=0.2),
        ),
        ({"type": "int", "low": 1, "high": 8}, IntDistribution(1, 8)),
        ({"type": "int", "low": 1, "high": 512, "log": True}, IntDistribution(1, 512, log=True)),
        ({"type": "int", "low": 1, "high": 8, "step": 3}, IntDistribution(1, 7, step=3)),
        ({"type": "choice", "values": ["a", 2, 1.5]}, CategoricalDistribution(("a", 2, 1.5))),
    ],
)
def test_every_parameter_has_its_distribution(
    parameter: dict[str, Any], distribution: BaseDistribution
) -> None:
    assert distributions(Space.model_validate({"x": parameter})) == {"x": distribution}


@pytest.mark.parametrize("step", [0.1, 0.15, 0.2, 0.3, 0.7, 1e-3, 1e-9])
@pytest.mark.parametrize("low", [0.0, 0.05, -1.0, 1e-4])
def test_the_last_point_of_a_stepped_range_is_kept(low: float, step: float) -> None:
    parameter = {"type": "float", "low": low, "high": low + 2, "step": step}
    space = Space.model_validate({"x": parameter})
    found = distributions(space)["x"]
    assert isinstance(found, FloatDistribution)
    assert round((found.high - low) / step) + 1 == space["x"].count()


def test_the_order_is_that_of_the_space() -> None:
    parameter = {"type": "int", "low": 1, "high": 2}
    space = Space.model_validate({"b": parameter, "a": parameter, "model.c": parameter})
    assert list(distributions(space)) == ["b", "a", "model.c"]
