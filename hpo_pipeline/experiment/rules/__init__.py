"""Rules between parameters (`space_rules`): the language, and the configurations that keep them.

numpy is imported only inside functions: a file without rules is read without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hpo_pipeline.experiment.rules.rule import Rule
from hpo_pipeline.experiment.space import Space, Value

DEFAULTS: dict[str, Value] = {
    "learning_rate": 5e-5,
    "weight_decay": 0.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "num_train_epochs": 3.0,
    "max_steps": -1,
    "gradient_accumulation_steps": 1,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 64,
    "label_smoothing_factor": 0.0,
    "fp16": False,
    "bf16": False,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "optim": "adamw_torch_fused",
    "train_sampling_strategy": "random",
    "dataloader_drop_last": False,
}
"""Values of training arguments that neither the space nor `task.training` has."""


@dataclass(frozen=True)
class Rules:
    """The rules of a search, and the values of the parameters that they read and nothing varies."""

    texts: tuple[str, ...] = ()
    fixed: tuple[tuple[str, Value], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.texts)

    @property
    def each(self) -> tuple[Rule, ...]:
        """The rules, parsed."""
        return tuple(Rule(text) for text in self.texts)


NO_RULES = Rules()


def bound(texts: Iterable[str], space: Space, known: Mapping[str, Value]) -> Rules:
    """Return rules with the values of what they read and the space does not vary."""
    texts = tuple(texts)
    names = dict.fromkeys(name for text in texts for name in Rule(text).names)
    read = (name for name in names if name not in space and name in known)
    return Rules(texts, tuple((name, known[name]) for name in read))


def known_values(task: Any, serve: Any = None) -> dict[str, Value]:
    """Return the values that a task and `serve` fix, under the names that they have in a space."""
    found: dict[str, Any] = dict(DEFAULTS)
    if task is None:
        return found
    found |= task.training
    found |= {f"model.{name}": value for name, value in task.config.items()}
    for name, value in task:
        found[f"task.{name}"] = value
    for section in ("settings", "lora"):
        for name, value in getattr(task, section, None) or ():
            found[f"{'task' if section == 'settings' else section}.{name}"] = value
    ways = ((name, value) for name, value in serve or () if isinstance(value, bool | int | str))
    found |= {f"serve.{name}": value for name, value in ways}
    return {name: v for name, v in found.items() if isinstance(v, bool | int | float | str)}
