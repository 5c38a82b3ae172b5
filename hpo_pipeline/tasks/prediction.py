"""The outputs of a finished model for all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpo_pipeline.tasks.kind import Loaded

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_PROBABILITY = 1e-7
"""Of a label that a model does not know: its loss must stay finite."""


def logits_of(loaded: Loaded) -> NDArray[Any]:
    """Return the logits of all rows (rows x outputs)."""
    import numpy as np
    import torch

    found = []
    with torch.inference_mode():
        for start in range(0, len(loaded.rows), loaded.batch):
            batch = loaded.collate(list(loaded.rows[start : start + loaded.batch]))
            inputs = {k: v.to(loaded.model.device) for k, v in batch.items()}
            found.append(loaded.model(**inputs).logits.float().cpu().numpy())
    return np.concatenate(found)
