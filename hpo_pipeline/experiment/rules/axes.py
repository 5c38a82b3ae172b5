"""A parameter as an axis: shares of its range in [0, 1), places on it, and the values there.

The place of a choice or of a range with a step is its number, from 0; that of a continuous range
is the value itself. Equal shares are equally probable in random search.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hpo_pipeline.experiment.conditions import comparisons, is_comparison, meets
from hpo_pipeline.experiment.space import (
    ChoiceParameter,
    FloatParameter,
    IntParameter,
    Value,
    render,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
_BELOW_ONE = 1 - 2**-53


@dataclass(frozen=True)
class Axis:
    """One parameter."""

    parameter: FloatParameter | IntParameter | ChoiceParameter

    @cached_property
    def count(self) -> int | None:
        """The number of places, or None where the range is continuous."""
        return self.parameter.count()

    def places(self, shares: Floats) -> Floats:
        """Return the places at these shares."""
        import numpy as np

        parameter, shares = self.parameter, np.clip(shares, 0, _BELOW_ONE)
        if not isinstance(parameter, ChoiceParameter) and parameter.log:
            low, high = self._log_bounds
            values = np.exp(low + shares * (high - low))
            if isinstance(parameter, IntParameter):
                values = np.round(values)
            values = np.clip(values, parameter.low, parameter.high)
            return values - parameter.low if isinstance(parameter, IntParameter) else values
        if self.count is not None:
            return np.minimum(np.floor(shares * self.count), self.count - 1)
        assert isinstance(parameter, FloatParameter)
        values = parameter.low + shares * (parameter.high - parameter.low)
        return np.clip(values, parameter.low, parameter.high)

    def shares(self, places: Floats) -> Floats:
        """Return the shares in the middle of these places."""
        import numpy as np

        parameter = self.parameter
        if not isinstance(parameter, ChoiceParameter) and parameter.log:
            low, high = self._log_bounds
            values = places + parameter.low if isinstance(parameter, IntParameter) else places
            return (np.log(values) - low) / (high - low)
        if self.count is not None:
            return (np.asarray(places, float) + 0.5) / self.count
        assert isinstance(parameter, FloatParameter)
        return (np.asarray(places, float) - parameter.low) / (parameter.high - parameter.low)

    def weights(self, places: Floats) -> Floats:
        """Return how probable each place is in random search."""
        import numpy as np

        assert self.count is not None
        if isinstance(self.parameter, IntParameter) and self.parameter.log:
            low, high = self._log_bounds
            values = places + self.parameter.low
            return (np.log(values + 0.5) - np.log(values - 0.5)) / (high - low)
        return np.full(len(places), 1 / self.count)

    def column(self, places: Floats) -> Any:
        """Return the values at these places: floats, or objects where there are texts."""
        import numpy as np

        parameter = self.parameter
        if isinstance(parameter, ChoiceParameter):
            return self._choices[np.asarray(places, int)]
        if isinstance(parameter, IntParameter):
            return parameter.low + np.asarray(places, float) * parameter.step
        if parameter.step is None:
            return places
        values = parameter.low + np.asarray(places, float) * parameter.step
        return np.round(values, self._decimals)  # the doubles that parameter.point gives

    def value(self, place: float) -> Value:
        """Return the value at a place."""
        return float(place) if self.count is None else self.parameter.point(int(place))

    def place(self, value: Value) -> float:
        """Return the place of a value that the parameter has."""
        parameter = self.parameter
        if isinstance(parameter, ChoiceParameter):
            return [render(v) for v in parameter.values].index(render(value))
        assert not isinstance(value, str)
        if parameter.step is None:
            return float(value)
        return round((value - parameter.low) / parameter.step)

    def meets(self, places: Floats, conditions: Iterable[Value]) -> Bools:
        """Return where the value meets one of the conditions of a `when`."""
        import numpy as np

        if isinstance(self.parameter, ChoiceParameter):
            values = self.parameter.values
            table: Bools = np.array([meets(value, conditions) for value in values], bool)
            return np.take(table, np.asarray(places, int))
        column = self.column(places)
        found: Bools = np.zeros(len(column), bool)
        for condition in conditions:
            if isinstance(condition, str) and is_comparison(condition):
                parts = [part.compared(column) for part in comparisons(condition)]
                found |= np.logical_and.reduce(parts)
            else:
                found |= column == condition
        return found

    @cached_property
    def _log_bounds(self) -> tuple[float, float]:
        parameter = self.parameter
        assert not isinstance(parameter, ChoiceParameter)
        margin = 0.5 if isinstance(parameter, IntParameter) else 0.0
        return math.log(parameter.low - margin), math.log(parameter.high + margin)

    @cached_property
    def _choices(self) -> Any:
        import numpy as np

        assert isinstance(self.parameter, ChoiceParameter)
        values = self.parameter.values
        has_text = any(isinstance(value, str) for value in values)
        return np.array(values, dtype=object if has_text else float)

    @cached_property
    def _decimals(self) -> int:
        numbers = (getattr(self.parameter, name) for name in ("low", "step"))
        exponents = (Decimal(str(number)).as_tuple().exponent for number in numbers)
        return max(-e for e in exponents if isinstance(e, int))
