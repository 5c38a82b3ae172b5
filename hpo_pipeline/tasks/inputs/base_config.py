"""The config of the base model that `task.model` names, and configs made from it with changes.

The name is a folder, a hub id or an architecture. What a config.json of a folder says is bounded
before transformers reads it, because a stranger may have written it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.task_fields import TaskFields

if TYPE_CHECKING:
    from transformers import PretrainedConfig

CONFIG_FILE = "config.json"
MAX_CONFIG_BYTES = 4_000_000
MAX_LAYERS = 256
MAX_LABELS = 100_000
MAX_SIZE = 100_000_000
"""Of any dimension: tables of that many entries take seconds to make even without memory."""
_LAYERS = re.compile(r"(num_hidden_|n_|num_|encoder_|decoder_|num_decoder_)layers?|n_layer|depths?")
_LISTED = re.compile(r"(.*_)?(layers?|depths?|blocks|stages|experts)")
_SIZE = re.compile(r"(.*_)?(size|dim|heads?|embd|position_embeddings|channels)|n_positions|d_\w+")
# Fields that a saved config has beside those that make a model.
_NOT_FIELDS = ("transformers_version", "architectures", "model_type", "_name_or_path")


def base_config(task: TaskFields, source: str) -> PretrainedConfig:
    """Return the config of the base model.

    Args:
        source: a folder, a hub id or the name of an architecture.

    Raises:
        DataError: there is no such model, its config cannot be used, or an architecture has no
            weights to start from.
    """
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    is_folder = Path(source).is_dir()
    if source in CONFIG_MAPPING_NAMES and not is_folder:
        if not task.from_scratch:
            raise DataError(
                f"task.model: {source} is an architecture without weights; "
                f"set from_scratch: true, or name a pretrained model"
            )
        return AutoConfig.for_model(source)
    if is_folder:
        _check_file(Path(source) / CONFIG_FILE)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            source, trust_remote_code=task.trust_remote_code
        )
        # A config may name code of the hub for its attention; transformers chooses its own instead.
        config._attn_implementation = None
        config._experts_implementation = None
    # A config that a stranger wrote makes transformers raise anything.
    except Exception as error:
        raise DataError(f"task.model: {source!r} cannot be loaded: {one_line(error)}") from error
    if getattr(config, "quantization_config", None) and not task.from_scratch:
        raise DataError(
            f"task.model: {source!r} has quantised weights, which cannot be trained; name the "
            f"model that it was made from"
        )
    return config


@dataclass(frozen=True)
class ConfigRecipe:
    """What it takes to build a config: its class, and the fields that follow from no others.

    transformers derives some fields from others when it builds a config (`layer_types` from the
    number of layers, `num_key_value_heads` from the heads, `stage_names` from the depths). Setting
    a field of a finished config would leave those as they were, so it is built anew.
    """

    kind: Any
    fields: Mapping[str, Any]
    name_or_path: str

    @classmethod
    def of(cls, config: PretrainedConfig) -> ConfigRecipe:
        """Find the fields that give the same config when it is built from them alone."""
        whole = _fields(config)
        try:
            fields = _needed(type(config), whole)
        # Code that came with a model may refuse to build a config without some fields.
        except Exception:
            fields = whole
        return cls(type(config), fields, str(getattr(config, "_name_or_path", "")))

    def build(self, changes: Mapping[str, Any]) -> PretrainedConfig:
        """Return the config with these fields changed, by the names of the class or its aliases.

        Raises:
            ValueError: the class refuses the values, or they are out of bounds.
        """
        alias = self.kind.attribute_map
        fields = {**self.fields, **{alias.get(name, name): v for name, v in changes.items()}}
        for name, value in changes.items():
            is_size = _SIZE.fullmatch(name) or _LISTED.fullmatch(name)
            fault = _out_of_bounds(name, value) or (_below_one(value) if is_size else None)
            if fault:
                raise ValueError(f"{name} {fault}")
        config: PretrainedConfig = self.kind.from_dict(_shortened(fields, changes))
        config._name_or_path = self.name_or_path
        return config


def one_line(error: BaseException) -> str:
    """Return what an exception says, on one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"


def is_layers(name: str) -> bool:
    """Return whether a field of a config is its number of layers."""
    return _LAYERS.fullmatch(name) is not None


def _out_of_bounds(name: str, value: object) -> str | None:
    """Say why no model can have so many layers or labels, before a list of them is made."""
    numbers = _integers(value)
    if _LAYERS.fullmatch(name) and any(n < 1 for n in numbers):
        return _below_one(value)
    if _LISTED.fullmatch(name) and sum(numbers) > MAX_LAYERS:
        return f"must be at most {MAX_LAYERS}, got {_short(value)}"
    if _SIZE.fullmatch(name) and any(n > MAX_SIZE for n in numbers):
        return f"must be at most {MAX_SIZE:,}, got {_short(value)}"
    if name == "num_labels" and any(n > MAX_LABELS for n in numbers):
        return f"must be at most {MAX_LABELS}, got {_short(value)}"
    return None


def _below_one(value: object) -> str | None:
    if any(n < 1 for n in _integers(value)):
        return f"must be at least 1, got {_short(value)}"
    return None


def _integers(value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [n for n in values if isinstance(n, int) and not isinstance(n, bool)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _check_file(file: Path) -> None:
    """Refuse a config.json that is not a mapping, or whose numbers would take endless memory."""
    where = f"task.model: {file}"
    try:
        if not file.is_file():
            raise DataError(f"task.model: {file.parent} cannot be loaded: it has no {CONFIG_FILE}")
        with file.open("rb") as stream:
            content = stream.read(MAX_CONFIG_BYTES + 1)
        if len(content) > MAX_CONFIG_BYTES:
            raise DataError(f"{where} cannot be loaded: it has more than {MAX_CONFIG_BYTES} bytes")
        fields = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{where} cannot be loaded: {one_line(error)}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where} cannot be loaded: it must be a mapping, got {_short(fields)}")
    for name, value in fields.items():
        if fault := _out_of_bounds(name, value):
            raise DataError(f"{where} cannot be loaded: {name} {fault}")


def _fields(config: PretrainedConfig) -> dict[str, Any]:
    return {n: v for n, v in config.to_dict().items() if n not in _NOT_FIELDS}


def _needed(kind: Any, whole: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out, one by one, the fields that the class derives from the others by itself."""
    needed = _differing(kind, whole, {})
    while more := _differing(kind, whole, needed):
        needed |= more
    for name in list(needed):
        fewer = {n: v for n, v in needed.items() if n != name}
        try:
            if not _differing(kind, whole, fewer):
                needed = fewer
        except (ValueError, TypeError):  # not a config without it
            continue
    return needed


def _differing(kind: Any, whole: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    made = _fields(kind.from_dict(dict(given)))
    return {n: v for n, v in whole.items() if n not in made or made[n] != v}


def _shortened(fields: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Cut the kinds of layers that a model lists one by one to a smaller number of layers."""
    layers = fields.get("num_hidden_layers")
    for name in ("layer_types", "mlp_layer_types"):
        kinds = fields.get(name)
        if name not in changes and isinstance(kinds, list) and isinstance(layers, int):
            fields[name] = kinds[:layers]
    return fields
