"""The user's own metrics: functions that the experiment file names as `module:function`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from hpo_pipeline.errors import TrialError

UserMetric = Callable[[Any, Any], float]


def user_metric(target: str) -> UserMetric:
    """Return the function that `module:function` names.

    Raises:
        TrialError: there is no such module or function, or importing the module fails.
    """
    module, _, function = target.partition(":")
    try:
        found: UserMetric = getattr(importlib.import_module(module), function)
    # Foreign code may raise anything when it is imported, as below when it is called.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise TrialError(f"the metric {target} cannot be loaded: {reason}") from error
    if not callable(found):
        raise TrialError(f"the metric {target} is not a function, got {found!r}")
    return found


def measure_own(name: str, target: str, probabilities: Any, labels: Any) -> float:
    """Call a user's metric with the probabilities (rows x labels) and the labels.

    Raises:
        TrialError: it cannot be loaded, it raises, or it does not return a number.
    """
    function = user_metric(target)
    try:
        return float(function(probabilities, labels))
    # Foreign code may raise anything, and the trial should say whose code it was.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise TrialError(f"the metric {name} ({target}) raised {reason}") from error
