"""The outputs of a language model at the tokens that are predicted, and nowhere else.

The last layer of a small model costs as much as all others together, and a masked model needs it
for 15 % of the tokens, one that learns completions for those alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from hpo_pipeline.tasks.inputs.token_cutting import IGNORED
from hpo_pipeline.tasks.reducing_trainer import ReducingTrainer
from hpo_pipeline.tasks.token_metrics import TokenSums


def truth_of(labels: Tensor, *, ahead: bool) -> Tensor:
    """Return what the output at each place should be, rows x tokens, or IGNORED.

    Args:
        labels: the right ids, rows x tokens, or IGNORED.
        ahead: whether an output predicts the token after its own.
    """
    return torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED) if ahead else labels


def outputs_at(model: Any, where: Tensor, inputs: Mapping[str, Any]) -> Tensor:
    """Return the outputs of a model at some places, places x vocabulary.

    Args:
        where: whether a place is one of them, rows x tokens.
        inputs: all arguments of the forward pass; no labels, for the model would compute its loss.
    """

    def picked(layer: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        hidden, *rest = given
        # Some models give the layer something else than a vector for each token.
        return (hidden[where][None], *rest) if hidden.shape[:2] == where.shape else None

    hook = model.get_output_embeddings().register_forward_pre_hook(picked)
    try:
        logits: Tensor = model(**inputs).logits
    finally:
        hook.remove()
    # And some use its weights without calling it.
    return logits[where] if logits.shape[:2] == where.shape else logits[0]


def language_sums(
    model: Any, batches: Iterable[Any], extras: Mapping[str, Any], *, ahead: bool
) -> TokenSums:
    """Return the sums of a language model over batches, which hold `labels`.

    Args:
        extras: arguments of the forward pass beside those of a batch.
        ahead: whether an output predicts the token after its own.
    """
    sums = TokenSums()
    with torch.inference_mode():
        for batch in batches:
            inputs = {k: v.to(model.device) for k, v in batch.items() if k != "labels"}
            truth = truth_of(batch["labels"].to(model.device), ahead=ahead)
            sums.add(outputs_at(model, truth != IGNORED, {**inputs, **extras}), truth)
    return sums


class LanguageTrainer(ReducingTrainer):
    """A Trainer of a language model that computes no output that is not learnt from."""

    def __init__(self, *, ahead: bool, **arguments: Any) -> None:
        """Make the Trainer.

        Args:
            ahead: whether an output predicts the token after its own.
        """
        super().__init__(**arguments)
        self._ahead = ahead

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the mean negative log-likelihood of the tokens, as transformers' models do.

        Args:
            num_items_in_batch: tokens of all batches whose gradients are added up.
        """
        # A compiled model would be compiled anew for each number of places.
        if return_outputs or self.label_smoother is not None or self.args.torch_compile:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        truth = truth_of(inputs["labels"], ahead=self._ahead)
        where = truth != IGNORED
        rest = {name: value for name, value in inputs.items() if name != "labels"}
        logits = outputs_at(model, where, {**rest, **self._extras})
        nats = torch.nn.functional.cross_entropy(logits.float(), truth[where], reduction="sum")
        return nats / (where.sum() if num_items_in_batch is None else num_items_in_batch)
