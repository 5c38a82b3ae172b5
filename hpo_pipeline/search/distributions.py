"""The space in Optuna's terms; the only translation between the two."""

from __future__ import annotations

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_pipeline.experiment.space import ChoiceParameter, FloatParameter, IntParameter, Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of each parameter, in the order of the space."""
    return {name: _distribution(space[name]) for name in space}


def _distribution(
    parameter: FloatParameter | IntParameter | ChoiceParameter,
) -> BaseDistribution:
    match parameter:
        case FloatParameter(low=low, high=high, log=log, step=step):
            if step is not None:
                # Optuna warns where high is off the grid; the last point on it means the same.
                high = parameter.point((parameter.count() or 1) - 1)
            return FloatDistribution(low, high, log=log, step=step)
        case IntParameter(low=low, high=high, log=log, step=step):
            return IntDistribution(low, high - (high - low) % step, log=log, step=step)
        case ChoiceParameter(values=values):
            return CategoricalDistribution(values)
