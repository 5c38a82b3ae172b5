"""LoRA by peft: adapters put into a model before its training, and merged into it afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hpo_pipeline.errors import TrialError
from hpo_pipeline.experiment.lora import ALL_LINEAR, Lora
from hpo_pipeline.tasks.inputs.base_config import one_line

ADAPTER_FOLDER = "adapter"
"""Below the folder of the merged model."""


def with_adapters(model: Any, lora: Lora, whole: Sequence[str]) -> Any:
    """Return the model with adapters; all else is frozen but the modules that are trained whole.

    Args:
        whole: the names of these modules, such as that of a classification head.

    Raises:
        TrialError: a target is no linear layer of the model, or peft refuses the settings.
    """
    from peft import LoraConfig, get_peft_model

    targets = target_layers(model, lora.targets, whole)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        modules_to_save=list(whole) or None,
    )
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks a model of transformers 5.23 by an old name whether it checkpoints.
            warnings.simplefilter("ignore", FutureWarning)
            return get_peft_model(model, config)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TrialError(f"LoRA cannot be applied: {one_line(error)}") from error


def target_layers(model: Any, wanted: Sequence[str], whole: Sequence[str] = ()) -> list[str]:
    """Return the full names of the layers that get adapters; the model may be on the meta device.

    Args:
        wanted: ends of names, or `all-linear`; none takes peft's choice for the architecture.
        whole: modules that are trained whole, and their parts get no adapters.

    Raises:
        TrialError: a name is that of no linear layer; the message names some that are there.
    """
    layers = [
        name
        for name, module in model.named_modules()
        if _is_linear(module) and not any(f"{name}.".startswith(f"{other}.") for other in whole)
    ]
    if ALL_LINEAR in wanted:
        return layers
    known = wanted or _usual(model)
    chosen = [name for name in layers if any(f".{name}".endswith(f".{end}") for end in known)]
    for end in wanted:
        if not any(f".{name}".endswith(f".{end}") for name in layers):
            ends = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in layers))
            raise TrialError(
                f"lora.targets: {end!r} is no linear layer of the model; there are {ends}, or "
                f"{ALL_LINEAR}"
            )
    return chosen or layers


def merged(model: Any, folder: Path, base: Any = None) -> Any:
    """Write the adapters below a model folder and return the model with them merged into it.

    Args:
        base: the model without adapters, where the one that was trained had quantised weights,
            into which nothing can be merged exactly.
    """
    from peft import PeftModel

    model.save_pretrained(str(folder / ADAPTER_FOLDER), safe_serialization=True)
    if base is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # as in with_adapters
            model = PeftModel.from_pretrained(base, str(folder / ADAPTER_FOLDER))
    # peft's own card would be the only text of the folder, with gaps to be filled in.
    (folder / ADAPTER_FOLDER / "README.md").unlink(missing_ok=True)
    return model.merge_and_unload()


def _usual(model: Any) -> Sequence[str]:
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    found = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(model.config.model_type, ())
    return [found] if isinstance(found, str) else list(found)


def _is_linear(module: Any) -> bool:
    from transformers.pytorch_utils import Conv1D  # GPT-2 writes its linear layers so

    return isinstance(module, torch.nn.Linear | Conv1D)
