"""Building the model of a trial: pretrained or from scratch, with fixed and searched fields."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from hpo_pipeline.errors import DataError, TrialError
from hpo_pipeline.experiment.task import Task
from hpo_pipeline.tasks import TASKS
from hpo_pipeline.tasks.inputs.base_config import ConfigRecipe, base_config, one_line

# What a base model may have been saved with: outputs that evaluation would gather for all rows.
_OUTPUTS = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}
_HEADS = ("classifier", "classification_head", "score", "head", "logits_proj", "fc")


def config_overrides(
    task: Task, named: Mapping[str, Any], derived: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of the config that a trial sets, given its assigned task.

    Fields that follow from the inputs (`derived`) hold only for a model from scratch: pretrained
    weights decide them otherwise, except the padding token. Those that follow from the labels
    (`named`) hold for all.
    """
    padding = {n: v for n, v in derived.items() if n == "pad_token_id"}
    return {
        **(derived if task.from_scratch else padding),
        **task.config,
        **_OUTPUTS,
        **named,
    }


@dataclass(frozen=True)
class Built:
    """A model, and the names of its modules that have to be trained whatever else is frozen."""

    model: Any
    whole: tuple[str, ...] = ()


def build_model(
    task: Task, source: str, overrides: dict[str, Any], *, quantize: str | None = None
) -> Built:
    """Return the model of a trial, on the CPU, as float32.

    Args:
        quantize: `4bit` loads the pretrained weights so, onto the GPU.

    Raises:
        DataError: the model folder has no weights.
        TrialError: the config is one that the architecture refuses, or weights outside the head
            would start at random though `task.reinitialise` does not name them.
    """
    transformers.utils.logging.disable_progress_bar()
    model_class = TASKS[task.kind].model_class(task)
    base = base_config(task, source)
    has_padding = getattr(base, "pad_token_id", None) is not None
    if has_padding and not task.from_scratch and "pad_token_id" not in task.config:
        overrides = {n: v for n, v in overrides.items() if n != "pad_token_id"}
    common = {"dtype": torch.float32, "trust_remote_code": task.trust_remote_code}
    try:
        config = ConfigRecipe.of(base).build(overrides)
        if fault := TASKS[task.kind].model_fault(task, config):
            raise TrialError(f"task.model: {fault}")
        if task.from_scratch:
            return Built(model_class.from_config(config, **common))
        model, loaded = model_class.from_pretrained(
            source,
            config=config,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # of the head; the rest is looked at below
            output_loading_info=True,
            **_quantization(quantize),
            **common,
        )
    except ImportError as error:
        raise TrialError(f"task.quantize: {one_line(error)}") from error
    except OSError as error:
        raise DataError(f"task.model: {source} has no safetensors weights: {error}") from error
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError, AttributeError) as error:
        raise TrialError(f"the model cannot be built: {one_line(error)}") from error
    if new := NewWeights.of(model, loaded, task.reinitialise):
        raise TrialError(f"the pretrained weights do not fit: {new}")
    missing = {*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])}
    whole = {name.rpartition(".")[0] for name in missing}
    if TASKS[task.kind].trains_head:
        heads = (name.rpartition(".")[0] for name, _ in model.named_parameters())
        whole |= {name for name in heads if _is_head(model, f"{name}.")}
    return Built(model, tuple(sorted(whole)))


def _quantization(quantize: str | None) -> dict[str, Any]:
    if quantize is None:
        return {}
    if not torch.cuda.is_available():
        raise TrialError("task.quantize: needs a GPU, and there is none; leave it out")
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
    return {"quantization_config": config, "device_map": {"": 0}}


@dataclass(frozen=True)
class NewWeights:
    """Weights outside the head that would start at random: their names, and their share of all."""

    names: tuple[str, ...]
    share: float

    @classmethod
    def of(cls, model: Any, loaded: Mapping[str, Any], allowed: Sequence[str]) -> NewWeights | None:
        """Return what loading left at random, or None where all is as it should be.

        Args:
            model: it may be on the meta device.
            loaded: what `from_pretrained` gives with `output_loading_info`.
            allowed: patterns of names that may be new, besides those of the head.
        """
        missing = {n for n in loaded["missing_keys"] if not _is_pooler(model, n)}
        new = missing | {name for name, *_ in loaded["mismatched_keys"]}
        names = sorted(
            name
            for name in new
            if not _is_head(model, name) and not any(fnmatch.fnmatch(name, p) for p in allowed)
        )
        if not names:
            return None
        sizes = {name: tensor.numel() for name, tensor in model.state_dict().items()}
        share = sum(sizes.get(name, 0) for name in names) / max(1, sum(sizes.values()))
        return cls(tuple(names), share)

    def __str__(self) -> str:
        """Name the share and some of the weights."""
        shown = ", ".join(self.names[:3]) + (", …" if len(self.names) > 3 else "")
        return f"{self.share:.0%} of the weights would start at random ({shown})"


def meta_model(task: Task, config: Any) -> Any:
    """Return the model of a config on the meta device: shapes without memory.

    Raises:
        ValueError, TypeError, RuntimeError, …: whatever the architecture says to the config.
    """
    model_class = TASKS[task.kind].model_class(task)
    with torch.device("meta"):
        return model_class.from_config(
            config, dtype=torch.float32, trust_remote_code=task.trust_remote_code
        )


def meta_load(model: Any, config: Any, shapes: Mapping[str, Iterable[int]]) -> dict[str, Any]:
    """Return what loading weights of these shapes would find missing, mismatched and unexpected.

    transformers does it as it would for real, with the names of older versions translated, but on
    the meta device.
    """
    weights = {name: torch.empty(tuple(s), device="meta") for name, s in shapes.items()}
    _, loaded = type(model).from_pretrained(
        None,
        config=config,
        state_dict=weights,
        device_map={"": "meta"},
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return dict(loaded)


def freeze(model: Any, what: str) -> None:
    """Exclude the embeddings, or all but the head (`base`), from training.

    Raises:
        TrialError: the model has no embeddings.
    """
    base = model.base_model
    if what == "embeddings":
        embeddings = getattr(base, "embeddings", None)
        parts = [embeddings] if embeddings is not None else _embeddings(base)
        if not parts:
            raise TrialError("freeze: embeddings, but this model has none; use base or none")
        for part in parts:
            part.requires_grad_(False)
    elif what == "base":
        base.requires_grad_(False)


def positions(model: Any) -> int | None:
    """Return how many tokens a model has positions for, or None where nothing says it."""
    limit = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        return None
    for name, module in model.base_model.named_modules():
        is_table = isinstance(module, torch.nn.Embedding) and "position" in name.rpartition(".")[2]
        # RoBERTa and its kin count positions from the one after that of padding.
        if is_table and module.padding_idx is not None:
            return limit - int(module.padding_idx) - 1
    return limit


def _embeddings(base: Any) -> list[Any]:
    """Return the tables of tokens and positions of a model that names no module `embeddings`."""
    return [module for module in base.modules() if isinstance(module, torch.nn.Embedding)]


def _is_head(model: Any, name: str) -> bool:
    prefix = model.base_model_prefix
    if prefix and hasattr(model, prefix):
        return not name.startswith(f"{prefix}.")
    return name.partition(".")[0] in _HEADS


def _is_pooler(model: Any, name: str) -> bool:
    """Return whether a weight is of the layer over the first token, which language models lack."""
    return name.startswith(f"{model.base_model_prefix}.pooler.")
