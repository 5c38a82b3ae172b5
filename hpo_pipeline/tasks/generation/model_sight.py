"""What a causal language model sees, found by asking it: later tokens, or texts packed beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_TOKENS = 4


@dataclass(frozen=True)
class Sight:
    """What decides a model's answers.

    Attributes:
        later: whether tokens after the one that is predicted do; then it is no causal model.
        separates: whether positions that start again keep a text from the one packed before it.
    """

    later: bool
    separates: bool


def sight_of(model: Any) -> Sight:
    """Compare the outputs of a model for a few tokens that are given in different company."""
    import torch

    was_training = model.training
    model.eval()
    size = model.get_output_embeddings().weight.shape[0]
    ids = (torch.arange(2 * _TOKENS, device=model.device)[None] * 7 + 3) % size
    others = (ids + 1) % size
    first, second = ids[:, :_TOKENS], ids[:, _TOKENS:]
    positions = torch.arange(_TOKENS, device=model.device).repeat(2)[None]
    try:
        with torch.inference_mode():
            extras = without_cache(model)
            alone = model(input_ids=first, **extras).logits
            followed = torch.cat([first, others[:, _TOKENS:]], dim=1)
            beside = model(input_ids=followed, **extras).logits[:, :_TOKENS]
            later = not _alike(alone, beside)
            try:
                block = torch.cat([others[:, :_TOKENS], second], dim=1)
                packed = model(input_ids=block, position_ids=positions, **extras).logits
                alone = model(input_ids=second, **extras).logits
                separates = _alike(alone, packed[:, _TOKENS:])
            except TypeError:  # it takes no positions
                separates = False
    finally:
        model.train(was_training)
    return Sight(later, separates)


def without_cache(model: Any) -> dict[str, Any]:
    """Return the argument that keeps a model from remembering; packed texts need it, too."""
    return {"use_cache": False} if hasattr(model.config, "use_cache") else {}


def _alike(one: Any, other: Any) -> bool:
    import torch

    precise = one.dtype == torch.float32
    tolerance = (1e-4 if precise else 2e-2) * float(one.float().abs().max())
    return bool((one.float() - other.float()).abs().max() <= tolerance)
