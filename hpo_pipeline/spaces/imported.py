"""A space while it is carried over: what became of each parameter, and what has no counterpart.

Nothing is dropped in silence: what cannot be carried over is a fault with what to write instead,
and what had to be changed is a note.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_pipeline.errors import ExperimentError
from hpo_pipeline.experiment.space import MAX_VALUES, SAFE_TEXT

Entry = dict[str, Any]
When = Mapping[str, Any]

_DIGITS = 12


@dataclass(frozen=True)
class Imported:
    """A space that was carried over.

    Attributes:
        parameters: the section `space`, without what could not be carried over.
        fixed: parameters with one value only, which belong into `task.training` or `task.config`.
        lost: what could not be carried over, each with what to write instead.
        notes: what is not quite as it was.
    """

    source: str
    parameters: dict[str, Entry]
    fixed: dict[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def space(self) -> dict[str, Entry]:
        """The section `space` of an experiment.

        Raises:
            ExperimentError: something could not be carried over; `parameters` has the rest.
        """
        if self.lost:
            raise ExperimentError(self.source, self.lost)
        return self.parameters


class Collector:
    """Collects the parameters of a space under the names that a file may have."""

    def __init__(self, source: str, names: Mapping[str, str] | None = None) -> None:
        self._source = source
        self._names = names or {}
        self._parameters: dict[str, Entry] = {}
        self._fixed: dict[str, Any] = {}
        self._lost: list[str] = []
        self._notes: list[str] = []

    def imported(self) -> Imported:
        """Return what was collected."""
        return Imported(
            self._source, self._parameters, self._fixed, tuple(self._lost), tuple(self._notes)
        )

    def name(self, foreign: str) -> str:
        """Return the name of a parameter here: the one that was asked for, or a legal one."""
        if foreign in self._names:
            return self._names[foreign]
        legal = re.sub(r"\W", "_", foreign)
        legal = legal if legal[:1].isalpha() or legal[:1] == "_" else f"p_{legal}"
        if legal != foreign and not re.fullmatch(r"(model|task|lora|serve)\.\w+", foreign):
            self.note(f"{foreign}: is called {legal} here, where names have letters, digits and _")
            return legal
        return foreign

    def lose(self, name: str, what: str, instead: str) -> None:
        """Say that a parameter cannot be carried over."""
        self._lost.append(f"{name}: {what}; {instead}")

    def note(self, text: str) -> None:
        """Say that something is not quite as it was."""
        if text not in self._notes:
            self._notes.append(text)

    def fix(self, name: str, value: Any) -> None:
        """Add a parameter that has one value."""
        self._fixed[self.name(name)] = value

    def choice(self, name: str, values: Iterable[Any], when: When | None = None) -> None:
        """Add a choice; a single value is fixed."""
        when = self._open(when)
        found = [_plain(value) for value in values]
        odd = [v for v in found if not isinstance(v, bool | int | float | str)]
        unsafe = [v for v in found if isinstance(v, str) and not SAFE_TEXT.fullmatch(v)]
        if odd:
            self.lose(
                name,
                f"the value {odd[0]!r:.60} is neither a number nor a text",
                "give each value a short name, choose among the names, and look the value up in "
                "your code",
            )
        elif unsafe:
            self.lose(
                name,
                f"the text {unsafe[0]!r:.60} has characters other than letters, digits and "
                f". _ : / @ % + , -",
                "choose among short names for such texts",
            )
        elif len(found) == 1 and not when:
            self.fix(name, found[0])
        elif found:
            self._add(name, {"type": "choice", "values": list(dict.fromkeys(found))}, when)

    def integer(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float = 1,
        log: bool = False,
        when: When | None = None,
    ) -> None:
        """Add whole numbers from low to high, both included."""
        when = self._open(when)
        first, last, step = round(low), round(high), max(1, round(step))
        if first == last and not when:
            self.fix(name, first)
            return
        entry: Entry = {"type": "int", "low": first, "high": last}
        if log and first <= 0:
            self.lose(name, f"is on a log scale from {first}", "begin at 1 or above")
            return
        if log:
            entry["log"] = True
        if step > 1 and not log:
            entry |= {"step": step, "high": first + (last - first) // step * step}
        elif step > 1:
            self.note(f"{name}: the step {step} is not kept, for there is none on a log scale")
        self._add(name, entry, when)

    def real(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
        when: When | None = None,
    ) -> None:
        """Add real numbers from low to high; those with a whole step are whole numbers."""
        when = self._open(when)
        low, high = float(low), float(high)
        if low == high and not when:
            self.fix(name, low)
            return
        if step and not log and float(step).is_integer() and low.is_integer():
            self.note(f"{name}: its numbers are whole (step {step:g}), so the type is int")
            self.integer(name, low, high, step=step, when=when)
            return
        if log and low <= 0:
            self.lose(name, f"is on a log scale from {low:g}", "begin above 0")
            return
        entry: Entry = {"type": "float", "low": _short(low), "high": _short(high)}
        if log:
            entry["log"] = True
        if step and log:
            self.note(f"{name}: the step {step:g} is not kept, for there is none on a log scale")
        elif step:
            start, end = (
                math.ceil(round(low / step, 9)) * step,
                math.floor(round(high / step, 9)) * step,
            )
            entry |= {"low": _short(start), "high": _short(end), "step": step}
        self._add(name, entry, when)

    def normal(self, name: str, mean: float, deviation: float, *, of_log: bool = False) -> None:
        """Say that a normal distribution has no counterpart, and which range is near it."""
        low, high = mean - 2 * deviation, mean + 2 * deviation
        if of_log:
            low, high = math.exp(low), math.exp(high)
        scale = ", log: true" if of_log else ""
        self.lose(
            name,
            f"is drawn from a {'log-' if of_log else ''}normal distribution",
            f"write a range: {{type: float, low: {low:.6g}, high: {high:.6g}{scale}}} is two "
            f"standard deviations to either side",
        )

    def _open(self, when: When | None) -> When:
        """Return the conditions that may fail: what is fixed has the value that they ask for."""
        return {name: value for name, value in (when or {}).items() if name not in self._fixed}

    def _add(self, name: str, entry: Entry, when: When) -> None:
        if entry.get("type") == "choice" and len(entry["values"]) > MAX_VALUES:
            self.lose(name, f"has {len(entry['values']):,} values", f"{MAX_VALUES:,} are allowed")
            return
        self._parameters[self.name(name)] = {**entry, **({"when": dict(when)} if when else {})}


def _plain(value: Any) -> Any:
    """Return a number of numpy as one of Python."""
    item = getattr(value, "item", None)
    return item() if callable(item) and not isinstance(value, bool | int | float | str) else value


def _short(number: float) -> float:
    """Return a number without the digits that only its arithmetic has put there."""
    return float(f"{number:.{_DIGITS}g}")


def flat(space: Mapping[str, Any], is_leaf: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with names joined by `_`."""
    found: dict[str, Any] = {}
    for name, value in space.items():
        if isinstance(value, Mapping) and not is_leaf(value):
            found |= flat(value, is_leaf, f"{prefix}{name}_")
        else:
            found[f"{prefix}{name}"] = value
    return found


def is_sequence(value: Any) -> bool:
    """Return whether a value is a list of values."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
