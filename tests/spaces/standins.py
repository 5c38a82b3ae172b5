"""Objects with the attributes of those of Ray Tune, Hyperopt and Keras Tuner, which are not here.

`test_real_libraries` tries the real ones where they are installed; so it was with ray 2.60,
hyperopt 0.3.0 and keras-tuner 1.4.8.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Float(SimpleNamespace):
    """Ray's domain of real numbers."""


class Integer(SimpleNamespace):
    """Ray's domain of whole numbers, without the upper end."""


class LogUniform(SimpleNamespace):
    """Ray's sampler on a log scale."""


UNIFORM = SimpleNamespace()


class tune:
    """What `from ray import tune` offers."""

    uniform = staticmethod(lambda low, high: Float(lower=low, upper=high, sampler=UNIFORM))
    quniform = staticmethod(
        lambda low, high, q: Float(
            lower=low, upper=high, sampler=SimpleNamespace(sampler=UNIFORM, q=q)
        )
    )
    loguniform = staticmethod(
        lambda low, high: Float(lower=low, upper=high, sampler=LogUniform(base=10))
    )
    qloguniform = staticmethod(
        lambda low, high, q: Float(
            lower=low, upper=high, sampler=SimpleNamespace(sampler=LogUniform(base=10), q=q)
        )
    )
    randn = staticmethod(
        lambda mean, sd: Float(lower=None, upper=None, sampler=SimpleNamespace(mean=mean, sd=sd))
    )
    randint = staticmethod(lambda low, high: Integer(lower=low, upper=high, sampler=UNIFORM))
    lograndint = staticmethod(
        lambda low, high: Integer(lower=low, upper=high, sampler=LogUniform(base=10))
    )
    qrandint = staticmethod(
        lambda low, high, q: Integer(
            lower=low, upper=high, sampler=SimpleNamespace(sampler=UNIFORM, q=q)
        )
    )
    choice = staticmethod(lambda values: SimpleNamespace(categories=values, sampler=UNIFORM))
    grid_search = staticmethod(lambda values: {"grid_search": values})
    sample_from = staticmethod(lambda func: SimpleNamespace(func=func))


def literal(value: Any) -> Any:
    """Return a literal of pyll."""
    return SimpleNamespace(name="literal", obj=value, pos_args=[], named_args=[])


def node(name: str, *arguments: Any, **named: Any) -> Any:
    """Return a node of pyll."""
    found = [a if hasattr(a, "pos_args") else literal(a) for a in arguments]
    return SimpleNamespace(name=name, pos_args=found, named_args=list(named.items()))


def drawn_by(label: str, name: str, *arguments: Any, cast: str = "float") -> Any:
    """Return what hp.NAME does."""
    return node(cast, node("hyperopt_param", label, node(name, *arguments)))


class hp:
    """What `from hyperopt import hp` offers."""

    uniform = staticmethod(lambda label, *ends: drawn_by(label, "uniform", *ends))
    quniform = staticmethod(lambda label, *ends: drawn_by(label, "quniform", *ends))
    loguniform = staticmethod(lambda label, *ends: drawn_by(label, "loguniform", *ends))
    normal = staticmethod(lambda label, *ends: drawn_by(label, "normal", *ends))
    uniformint = staticmethod(
        lambda label, *ends: drawn_by(label, "quniform", *ends, 1.0, cast="int")
    )
    randint = staticmethod(
        lambda label, *ends: node("hyperopt_param", label, node("randint", *ends))
    )

    @staticmethod
    def choice(label: str, options: list[Any]) -> Any:
        """Return a switch."""
        which = node("hyperopt_param", label, node("randint", len(options)))
        return node("switch", which, *map(as_node, options))


def as_node(value: Any) -> Any:
    """Return a value as pyll has it."""
    if isinstance(value, dict):
        return node("dict", **{key: as_node(entry) for key, entry in value.items()})
    return value if hasattr(value, "pos_args") else literal(value)


class Int(SimpleNamespace):
    """Keras Tuner's."""


class FloatHp(SimpleNamespace):
    """Keras Tuner's."""


FloatHp.__name__ = "Float"


class Choice(SimpleNamespace):
    """Keras Tuner's."""


class Boolean(SimpleNamespace):
    """Keras Tuner's."""


class Fixed(SimpleNamespace):
    """Keras Tuner's."""
