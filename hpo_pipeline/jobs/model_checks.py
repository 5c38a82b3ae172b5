"""What a model says to the configurations of a search, found without any of its weights in memory.

Models are built on the meta device, which holds shapes only, at the bounds of the space: they are
given a batch, their configs are saved and read back, and pretrained weights are compared by the
headers of their files.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_pipeline.data.assets.source import model_source
from hpo_pipeline.errors import DataError, TrialError
from hpo_pipeline.experiment.loading import MODEL
from hpo_pipeline.experiment.rules import NO_RULES, Rules
from hpo_pipeline.experiment.rules.nearest import kept_points
from hpo_pipeline.experiment.schema import bounds
from hpo_pipeline.experiment.space import Space, Value
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.jobs.training_checks import hint
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.inputs.base_config import ConfigRecipe, base_config, is_layers, one_line
from hpo_pipeline.trial.model.build import NewWeights, freeze, meta_load, meta_model, positions
from hpo_pipeline.trial.model.lora import target_layers
from hpo_pipeline.trial.model.model_pass import pass_fault
from hpo_pipeline.trial.model.weights import Shape, weight_shapes

MAX_CONFIGS = 16
MAX_PARAMETERS = 100_000_000_000
_VARYING = {"_name_or_path": "", "architectures": None}
_MISFIT = "the pretrained weights do not fit"
_ANYTHING = Exception
"""What an architecture raises at a config that it cannot be built from; code of others may run."""


VOCABULARY = "task.vocab_size"


def model_faults(task: Task, space: Space | None, rules: Rules = NO_RULES) -> list[str]:
    """Return what is wrong with the model of a task, at the bounds of the space.

    With rules, where the bounds break one, at the nearest configurations that do not.
    """
    if TASKS[task.kind].is_own_code:
        return []
    from transformers.utils import logging

    # transformers logs what it finds at each load; here it is put in words instead.
    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    is_chosen = space is not None and MODEL in space
    models = bounds(space, MODEL) if space is not None and is_chosen else [task.model]
    if space is not None and VOCABULARY in space:
        task = task.assigned({VOCABULARY: bounds(space, VOCABULARY)[0]})
    try:
        return [
            fault
            for model in models
            for fault in _model_faults(task.assigned({MODEL: model}), space, rules)
            if model
        ]
    finally:
        logging.set_verbosity(level)


def _model_faults(task: Task, space: Space | None, rules: Rules) -> list[str]:
    try:
        source = model_source(task.model)
        base = base_config(task, source)
    except DataError as error:
        return [str(error)]
    names = [n for n in space or () if n.startswith("model.")]
    searched = {n: _values(space, n, rules) for n in names} if space else {}
    fields = {f"task.config.{n}": [v] for n, v in task.config.items()}
    fields |= {f"space.{name}": values for name, values in searched.items()}
    faults = _field_faults(task, base, fields)
    derived: dict[str, Any] = {}
    shapes = None
    try:
        derived = _derived(task, source)
    except DataError as error:
        faults.append(str(error))
    try:
        shapes = None if task.from_scratch else weight_shapes(source)
    except DataError as error:
        faults.append(str(error))
    if faults:
        return faults
    fixed = {**(derived if task.from_scratch else {}), **task.config}
    models = Models(task, ConfigRecipe.of(base), fixed, shapes)
    points = _points(list(searched.values()))
    if rules and space is not None:
        points = iter(kept_points(space, rules, names, points))
    faults = _config_faults(models, searched, points)
    return faults or [
        *_position_faults(task, space, models),
        *_freeze_faults(task, space, models),
        *_target_faults(task, space, models),
    ]


@dataclass
class Models:
    """The models of a task on the meta device, by the fields that a trial would set.

    Attributes:
        fixed: fields that all trials set.
        shapes: those of the pretrained weights; None where there are none to compare with.
        built: a model of each configuration that has no fault.
    """

    task: Task
    recipe: ConfigRecipe
    fixed: Mapping[str, Any]
    shapes: Mapping[str, Shape] | None
    built: list[Any] = field(default_factory=list)

    def fault(self, changes: Mapping[str, Any]) -> str | None:
        """Return why trials with these fields would fail, or None."""
        try:
            config = self.recipe.build({**self.fixed, **changes})
            if reason := TASKS[self.task.kind].model_fault(self.task, config):
                return reason
            with tempfile.TemporaryDirectory() as folder:
                config.save_pretrained(folder)
                again = type(config).from_pretrained(folder)
            model = meta_model(self.task, config)
            count = sum(p.numel() for p in model.parameters())
            if count > MAX_PARAMETERS:
                return f"the model has {count:,} parameters, more than {MAX_PARAMETERS:,}"
            if not self._is_same(model, config, again):
                return "the config does not give the same model when it is saved and read back"
            if reason := pass_fault(model, lambda: meta_model(self.task, self.recipe.build({}))):
                return reason
            if self.shapes is not None:
                loaded = meta_load(model, config, self.shapes)
                if new := NewWeights.of(model, loaded, self.task.reinitialise):
                    return f"{_MISFIT}: {new}"
        except _ANYTHING as error:
            return f"the model cannot be built: {one_line(error)}"
        self.built.append(model)
        return None

    def _is_same(self, model: Any, config: Any, again: Any) -> bool:
        """Return whether a config that was saved and read gives the same model."""
        if config.to_dict() | _VARYING == again.to_dict() | _VARYING:
            return True
        return _shapes_of(model) == _shapes_of(meta_model(self.task, again))


def _shapes_of(model: Any) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _values(space: Space, name: str, rules: Rules) -> list[Value]:
    """Return values that span a parameter, and for whole numbers one that is not round."""
    values = bounds(space, name)
    parameter = space[name]
    if parameter.type == "int" and parameter.low + parameter.step < parameter.high:
        values.insert(1, parameter.low + parameter.step)
    if not rules:
        return values
    return [value for (value,) in kept_points(space, rules, [name], [(v,) for v in values])]


def _derived(task: Task, source: str) -> dict[str, Any]:
    """Return the fields that follow from the tokenizer, which has to be there and to fit."""
    kind = TASKS[task.kind]
    if not kind.has_text:
        return {}
    to_train_on = ["a text for a tokenizer that is to be trained"]
    processor = kind.processor(task, source, to_train_on, None)
    return kind.config_fields(task, processor, None)


def _field_faults(task: Task, base: Any, fields: Mapping[str, Sequence[Any]]) -> list[str]:
    """Say which fields the config does not have, and which ask for more layers than there are."""
    known = sorted({*base.to_dict(), *base.attribute_map} - {"transformers_version"})
    known = [name for name in known if not name.startswith("_")]
    faults = []
    for path, values in fields.items():
        name = path.rpartition(".")[2]
        if name not in known:
            faults.append(f"{path}: no field of the config of {task.model}{hint(name, known)}")
        elif is_layers(name) and not (task.from_scratch or task.reinitialise):
            limit = getattr(base, name)
            if isinstance(limit, int) and not all(_is_within(v, limit) for v in values):
                ends = values if len(values) < 3 else [values[0], values[-1]]
                faults.append(f"{path}: the pretrained model has {limit} layers, got {ends}")
    return faults


def _is_within(value: object, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limit


def _config_faults(
    models: Models,
    searched: Mapping[str, Sequence[Value]],
    points: Iterable[tuple[Value, ...]],
) -> list[str]:
    """Return the faults of the configurations at `points`, each with the field to blame."""
    if models.shapes is not None:
        faults = _alone_faults(models, searched)
        if faults or len(searched) < 2:
            return faults
    names = [name.removeprefix("model.") for name in searched]
    tried = {point: models.fault(dict(zip(names, point, strict=True))) for point in points}
    if not any(tried.values()):
        return []
    faults = []
    for i, name in enumerate(names):
        values = dict.fromkeys(point[i] for point in tried)
        wrong = [v for v in values if all(f for p, f in tried.items() if p[i] == v)]
        if wrong and (len(wrong) < len(values) or len(names) == 1):
            reason = next(f for p, f in tried.items() if p[i] == wrong[0])
            faults.append(f"space.model.{name}: {reason}, got {wrong}")
    if not faults:
        point, reason = next((p, f) for p, f in tried.items() if f)
        said = ", ".join(f"model.{n}={v}" for n, v in zip(names, point, strict=True))
        where = f"space: with {said}" if said else "task.config" if models.task.config else "task"
        faults.append(f"{where}: {reason}")
    return faults


def _alone_faults(models: Models, searched: Mapping[str, Sequence[Value]]) -> list[str]:
    """Return the faults of a pretrained model and of each field beside its own values."""
    bare = Models(models.task, models.recipe, {}, models.shapes, models.built)
    if reason := bare.fault({}):
        return [f"task.model: {reason}{_way_out(reason)}"]
    faults = []
    for name, value in models.task.config.items():
        if reason := bare.fault({name: value}):
            faults.append(f"task.config.{name}: {reason}, got {value}{_way_out(reason)}")
    for name, values in () if faults else searched.items():
        reasons = {v: models.fault({name.removeprefix("model."): v}) for v in values}
        if wrong := [v for v, reason in reasons.items() if reason]:
            reason = reasons[wrong[-1]] or ""
            faults.append(f"space.{name}: {reason}, got {wrong}{_way_out(reason)}")
    return faults


def _way_out(reason: str) -> str:
    if not reason.startswith(_MISFIT):
        return ""
    return "; keep what the weights were made with, or name these weights in task.reinitialise"


def _points(values: Sequence[Sequence[Value]]) -> Iterator[tuple[Value, ...]]:
    """Return all points of a small grid; of a large one, those that differ in one value."""
    total = 1
    for some in values:
        total *= len(some)
    if total <= MAX_CONFIGS:
        yield from itertools.product(*values)
        return
    for corner in ([v[0] for v in values], [v[-1] for v in values]):
        yield tuple(corner)
        for i, some in enumerate(values):
            for value in some:
                yield (*corner[:i], value, *corner[i + 1 :])


def _position_faults(task: Task, space: Space | None, models: Models) -> list[str]:
    if not TASKS[task.kind].has_text:
        return []
    limits = [limit for model in models.built if (limit := positions(model)) is not None]
    is_searched = space is not None and "task.max_length" in space
    values = bounds(space, "task.max_length") if space and is_searched else [task.max_length]
    wrong = [v for v in values if limits and int(v) > min(limits)]
    where = "space.task.max_length" if is_searched else "task.max_length"
    return [f"{where}: the model has {min(limits)} positions, got {wrong[-1]}"] if wrong else []


def _freeze_faults(task: Task, space: Space | None, models: Models) -> list[str]:
    is_searched = space is not None and "task.freeze" in space
    values = bounds(space, "task.freeze") if space and is_searched else [task.freeze]
    where = "space.task.freeze" if is_searched else "task.freeze"
    model = models.built[-1]
    for value in values:
        model.requires_grad_(True)
        try:
            freeze(model, str(value))
        except TrialError as error:
            return [f"{where}: {error}"]
        if not any(p.requires_grad for p in model.parameters()):
            return [f"{where}: nothing would be left to train, got {value}"]
    return []


def _target_faults(task: Task, space: Space | None, models: Models) -> list[str]:
    if task.lora is None:
        return []
    name = "lora.targets"
    is_searched = space is not None and name in space
    values = bounds(space, name) if space is not None and is_searched else []
    tasks = [task.assigned({name: value}) for value in values] or [task]
    where = "space" if is_searched else "task"
    try:
        for one in tasks:
            target_layers(models.built[-1], one.lora.targets if one.lora else ())
    except TrialError as error:
        return [f"{where}.{error}"]
    return []
