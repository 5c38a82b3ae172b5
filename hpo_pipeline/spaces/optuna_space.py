"""Optuna's spaces: a mapping of distributions, a study, or a function that asks a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hpo_pipeline.spaces.imported import Collector, Imported

MOST_PATHS = 64


def from_optuna(
    space: Mapping[str, Any] | Callable[[Any], Any] | Any,
    *,
    names: Mapping[str, str] | None = None,
) -> Imported:
    """Return a space of Optuna as one of ours.

    Args:
        space: distributions by name; a study, whose trials have them; or a function of a
            trial, such as the `hp_space` of `Trainer.hyperparameter_search`. The function is called
            once for each way through its choices, so that parameters under conditions are seen;
            one that trains as well is not for here.
        names: of parameters, where they are others here: `{"lr": "learning_rate"}`.
    """
    collector = Collector("the space of Optuna", names)
    if callable(space) and not hasattr(space, "trials"):
        _of_function(collector, space)
        return collector.imported()
    distributions: Mapping[str, Any] = space if isinstance(space, Mapping) else {}
    for trial in getattr(space, "trials", ()):
        distributions = {**distributions, **trial.distributions}
    for name, distribution in distributions.items():
        _add(collector, name, distribution, None)
    return collector.imported()


def _add(collector: Collector, name: str, found: Any, when: Mapping[str, Any] | None) -> None:
    if hasattr(found, "choices"):
        collector.choice(name, found.choices, when)
        return
    is_log, step = bool(getattr(found, "log", False)), getattr(found, "step", None)
    if type(found).__name__.startswith("Int"):
        collector.integer(name, found.low, found.high, step=step or 1, log=is_log, when=when)
    else:
        collector.real(name, found.low, found.high, step=step, log=is_log, when=when)


class _Asked:
    """What a function has asked for: the attributes of a distribution."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class IntAsked(_Asked):
    """Whole numbers."""


class FloatAsked(_Asked):
    """Real numbers."""


class _Recorder:
    """Stands for a trial: answers with the choices of a path, and remembers what was asked."""

    number = 0

    def __init__(self, path: Mapping[str, Any]) -> None:
        self.path = path
        self.asked: dict[str, Any] = {}
        self.params: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._know(name, FloatAsked(low=low, high=high, step=step, log=log), low))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._know(name, IntAsked(low=low, high=high, step=step, log=log), low))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        listed = list(choices)
        return self._know(name, _Asked(choices=listed), self.path.get(name, listed[0]))

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        return self.suggest_float(name, low, high, step=q)

    def _know(self, name: str, asked: Any, value: Any) -> Any:
        self.asked.setdefault(name, asked)
        self.params[name] = value
        return value


def _of_function(collector: Collector, function: Callable[[Any], Any]) -> None:
    paths = _paths(collector, function)
    asked: dict[str, Any] = {}
    for recorder in paths:
        asked |= {name: found for name, found in recorder.asked.items() if name not in asked}
    for name, found in asked.items():
        having = [path for path in paths if name in path.asked]
        if len(having) == len(paths):
            _add(collector, name, found, None)
            continue
        when = _condition(name, paths, asked)
        if when is None:
            collector.lose(
                name,
                "is asked for under conditions that are no values of one choice",
                "write its `when` by hand (docs/rules.md)",
            )
            continue
        _add(collector, name, found, {collector.name(key): v for key, v in when.items()})


def _paths(collector: Collector, function: Callable[[Any], Any]) -> list[_Recorder]:
    """Call a function once for each way through its choices."""
    waiting: list[dict[str, Any]] = [{}]
    found: list[_Recorder] = []
    while waiting and len(found) < MOST_PATHS:
        path = waiting.pop(0)
        recorder = _Recorder(path)
        function(recorder)
        found.append(recorder)
        for name, asked in recorder.asked.items():
            if hasattr(asked, "choices") and name not in path:
                known = {n: v for n, v in recorder.params.items() if n in path}
                others = [choice for choice in asked.choices if choice != recorder.params[name]]
                waiting += [{**known, name: choice} for choice in others]
                path = {**path, name: recorder.params[name]}
    if waiting:
        collector.note(
            f"the function has more than {MOST_PATHS} ways through its choices; parameters that "
            f"only others of them ask for are not seen"
        )
    return found


def _condition(
    name: str, paths: list[_Recorder], asked: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the choice, with its values, that decides whether a parameter is asked for."""
    for other, found in asked.items():
        if not hasattr(found, "choices") or other == name:
            continue
        having = {repr(p.params.get(other)) for p in paths if name in p.asked}
        lacking = {repr(p.params.get(other)) for p in paths if name not in p.asked}
        if not having & lacking:
            values = [value for value in found.choices if repr(value) in having]
            return {other: values[0] if len(values) == 1 else values}
    return None
