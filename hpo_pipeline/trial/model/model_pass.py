"""One pass of a model on the meta device: whether its layers fit each other, found without memory.

Some architectures can be built of fields with which they cannot compute, such as four widths for
the two stages of a ResNet. Every trial of such a configuration would fail at its first batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hpo_pipeline.tasks.inputs.base_config import one_line
from hpo_pipeline.trial.model.build import positions

TOKENS = 8
SIDE, CHANNELS = 224, 3
"""Of images, where the config does not say: large enough for every network's pooling."""


def pass_fault(model: Any, sound: Callable[[], Any]) -> str | None:
    """Return why a model cannot compute, or None where it can or nobody can tell.

    Args:
        model: on the meta device, which some operations do not know.
        sound: makes one of the same architecture that does compute: what is wrong with it too is
            no fault of the fields.
    """
    reason = _refusal(model)
    if reason is None or _refusal(sound()) is not None:
        return None
    return f"a batch does not pass through the model, so choose other values ({reason.rstrip('.')})"


def _refusal(model: Any) -> str | None:
    inputs = _inputs(model)
    if inputs is None:
        return None
    try:
        with torch.no_grad():
            model.eval()(**inputs)
    # The code of an architecture, which may be the user's, raises what it likes.
    except Exception as error:
        is_of_device = isinstance(error, NotImplementedError) or " meta " in str(error)
        return None if is_of_device else one_line(error)
    return None


def _inputs(model: Any) -> dict[str, torch.Tensor] | None:
    """Return a batch for the model, or None where it takes something else."""
    config = model.config
    if model.main_input_name == "pixel_values":
        config = getattr(config, "vision_config", None) or config
        size = getattr(config, "image_size", None) or SIDE
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        channels = getattr(config, "num_channels", None) or CHANNELS
        return {"pixel_values": torch.empty(1, channels, height, width, device="meta")}
    if model.main_input_name != "input_ids":
        return None
    length = min(TOKENS, positions(model) or TOKENS)
    tokens = torch.empty(1, length, dtype=torch.int64, device="meta")
    # Without a mask, whose values many models look at, and there are none.
    return {"input_ids": tokens} | (
        {"decoder_input_ids": tokens} if config.is_encoder_decoder else {}
    )
