"""Image classification: bytes of pixels to tensors in [-1, 1], without an image processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageClassification

from hpo_pipeline.tasks.kind import TaskFields

MODEL_CLASS = AutoModelForImageClassification


def processor(task: TaskFields, source: str, inputs: Sequence[bytes]) -> None:
    """Return None: the pixels are scaled by the collator."""


def encode(inputs: Sequence[bytes], processor: None, max_length: int) -> list[dict[str, Any]]:
    """Return the pixels of each image as they are."""
    return [{"pixels": pixels} for pixels in inputs]


def collator(
    processor: None, max_length: int, shape: tuple[int, int, int] | None
) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Return the function that makes a batch (rows x channels x height x width)."""
    assert shape is not None

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        pixels = np.frombuffer(b"".join(row["pixels"] for row in rows), dtype=np.uint8)
        images = torch.from_numpy(pixels.reshape(len(rows), *shape).astype(np.float32))
        batch = {"pixel_values": (images / 255 - 0.5).div_(0.5).permute(0, 3, 1, 2).contiguous()}
        if "label" in rows[0]:
            batch["labels"] = torch.tensor([row["label"] for row in rows])
        return batch

    return collate


def config_fields(processor: None, shape: tuple[int, int, int] | None) -> dict[str, Any]:
    """Return the config fields that follow from the images."""
    assert shape is not None
    return {"image_size": shape[0], "num_channels": shape[2]}
