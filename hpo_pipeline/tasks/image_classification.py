"""Image classification: bytes of pixels, scaled to [-1, 1] by the collator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.tasks.classification import CLASSIFICATION
from hpo_pipeline.tasks.kind import Collate, DataSource, Inputs, Row, Shape, TaskFields, TaskKind

USAGE = """\
from transformers import AutoModelForImageClassification

model = AutoModelForImageClassification.from_pretrained("path/to/this/folder")
# pixel_values: (images, channels, height, width), scaled as in the training data
logits = model(pixel_values=pixel_values).logits"""


def model_class() -> Any:
    """Return transformers' auto class."""
    from transformers import AutoModelForImageClassification

    return AutoModelForImageClassification


def read(task: TaskFields, source: DataSource) -> Any:
    """Read a folder of images for each label."""
    return source.images(size=None, channels=None)


def processor(task: TaskFields, source: str, inputs: Sequence[bytes]) -> None:
    """Return None: the pixels are scaled by the collator."""


def load_processor(folder: Path) -> None:
    """Return None, as `processor` does."""


def identity(processor: None) -> str:
    """Return nothing: all pixels are scaled alike."""
    return ""


def encode(inputs: Sequence[bytes], processor: None, max_length: int) -> list[Row]:
    """Return the pixels of each image as they are."""
    return [{"pixels": pixels} for pixels in inputs]


def length(row: Row) -> int:
    """Return 0: images need no padding."""
    return 0


def collator(processor: None, max_length: int, shape: Shape | None) -> Collate:
    """Return the function that makes a batch (rows x channels x height x width)."""
    import numpy as np
    import torch

    assert shape is not None

    def collate(rows: list[Row]) -> dict[str, Any]:
        pixels = np.frombuffer(b"".join(row["pixels"] for row in rows), dtype=np.uint8)
        images = torch.from_numpy(pixels.reshape(len(rows), *shape).astype(np.float32))
        batch = {"pixel_values": (images / 255 - 0.5).div_(0.5).permute(0, 3, 1, 2).contiguous()}
        if "label" in rows[0]:
            batch["labels"] = torch.tensor([row["label"] for row in rows])
        return batch

    return collate


def config_fields(processor: None, shape: Shape | None) -> dict[str, Any]:
    """Return the fields of the model's config that follow from the images."""
    assert shape is not None
    return {"image_size": shape[0], "num_channels": shape[2]}


KIND = TaskKind(
    pipeline="image-classification",
    usage=USAGE,
    searchable=("freeze",),
    model_class=model_class,
    inputs=Inputs(
        read=read,
        processor=processor,
        load_processor=load_processor,
        identity=identity,
        encode=encode,
        length=length,
        collator=collator,
        config_fields=config_fields,
    ),
    targets=CLASSIFICATION,
)
