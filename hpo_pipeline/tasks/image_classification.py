"""Image classification: pixels of one shape, scaled by the collator as the base model expects.

A pretrained model decides the shape and the scale; one from scratch follows `task.config`, else
the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.base_config import base_config
from hpo_pipeline.tasks.classification import CLASSIFICATION
from hpo_pipeline.tasks.image_scaling import ImageScaling
from hpo_pipeline.tasks.kind import Collate, DataSource, Inputs, Row, Shape, TaskFields, TaskKind

USAGE = """\
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

folder = "path/to/this/folder"
processor = AutoImageProcessor.from_pretrained(folder)
model = AutoModelForImageClassification.from_pretrained(folder)
mode = "L" if getattr(model.config, "num_channels", 3) == 1 else "RGB"
image = Image.open("path/to/an/image.png").convert(mode)
logits = model(**processor(image, return_tensors="pt")).logits
print(model.config.id2label[int(logits.argmax())])"""


def model_class() -> Any:
    """Return transformers' auto class."""
    from transformers import AutoModelForImageClassification

    return AutoModelForImageClassification


def read(task: TaskFields, source: DataSource) -> Any:
    """Read a folder of images for each label, in the shape that the model takes.

    Raises:
        DataError: the data or the config of the model cannot be read.
    """
    size, channels = task.config.get("image_size"), task.config.get("num_channels")
    if not task.from_scratch:
        model = source.model()
        config = base_config(task, model)
        config = getattr(config, "vision_config", None) or config  # of models of text and images
        size = size or getattr(config, "image_size", None) or _size_of(_preprocessor(task, model))
        channels = channels or getattr(config, "num_channels", None) or 3
    if channels not in (None, 1, 3):
        raise DataError(
            f"task.model: images have 1 or 3 channels, and num_channels is {channels!r}"
        )
    return source.images(size=_height_and_width(size), channels=channels)


def processor(
    task: TaskFields, source: str, inputs: Sequence[bytes], shape: Shape | None
) -> ImageScaling:
    """Return the scaling of the base model, or pixels from -1 to 1 for a model from scratch.

    Raises:
        DataError: the config of the model's image processor makes no sense.
    """
    assert shape is not None
    return ImageScaling.of(shape, {} if task.from_scratch else _preprocessor(task, source))


def load_processor(folder: Path) -> ImageScaling:
    """Return the scaling that a folder holds."""
    return ImageScaling.load(folder)


def encode(inputs: Sequence[bytes], scaling: ImageScaling, max_length: int) -> list[Row]:
    """Return the pixels of each image as they are."""
    return [{"pixels": pixels} for pixels in inputs]


def length(row: Row) -> int:
    """Return 0: images need no padding."""
    return 0


def collator(scaling: ImageScaling, max_length: int, shape: Shape | None) -> Collate:
    """Return the function that makes a batch (rows x channels x height x width)."""
    import numpy as np
    import torch

    assert shape is not None
    mean, std = torch.tensor(scaling.mean), torch.tensor(scaling.std)

    def collate(rows: list[Row]) -> dict[str, Any]:
        pixels = np.frombuffer(b"".join(row["pixels"] for row in rows), dtype=np.uint8)
        images = torch.from_numpy(pixels.reshape(len(rows), *shape).astype(np.float32))
        scaled = (images / 255 - mean).div_(std)
        batch = {"pixel_values": scaled.permute(0, 3, 1, 2).contiguous()}
        if "label" in rows[0]:
            batch["labels"] = torch.tensor([row["label"] for row in rows])
        return batch

    return collate


def config_fields(scaling: ImageScaling, shape: Shape | None) -> dict[str, Any]:
    """Return the fields of the model's config that follow from the images."""
    assert shape is not None
    height, width, channels = shape
    size = height if height == width else [height, width]
    return {"image_size": size, "num_channels": channels}


def _preprocessor(task: TaskFields, source: str) -> Mapping[str, Any]:
    """Return the config of the model's image processor; empty where it has none."""
    from transformers.models.auto.image_processing_auto import get_image_processor_config

    try:
        found: Mapping[str, Any] = get_image_processor_config(source)
    except (OSError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"task.model: the image processor of {source!r}: {first}") from error
    return found


def _size_of(preprocessor: Mapping[str, Any]) -> object:
    """Return the size to which an image processor brings images, as its config writes it."""
    if preprocessor.get("do_center_crop"):
        return preprocessor.get("crop_size") or preprocessor.get("size")
    return preprocessor.get("size")


def _height_and_width(size: object) -> tuple[int, int] | None:
    """Return height and width, which configs write as a number, a pair or a mapping.

    Raises:
        DataError: it is none of these.
    """
    found: list[object]
    match size:
        case None:
            return None
        case {"height": height, "width": width}:
            found = [height, width]
        case {"shortest_edge": edge}:
            found = [edge, edge]
        case [height, width]:
            found = [height, width]
        case _:
            found = [size, size]
    whole = [side for side in found if type(side) is int and 1 <= side <= 8192]
    if len(whole) != 2:
        raise DataError(
            f"task.config.image_size: must be a number of pixels from 1 to 8192, or a list of "
            f"height and width, got {size!r}"
        )
    return whole[0], whole[1]


KIND = TaskKind(
    pipeline="image-classification",
    usage=USAGE,
    searchable=("freeze",),
    model_class=model_class,
    inputs=Inputs(
        read=read,
        processor=processor,
        load_processor=load_processor,
        identity=ImageScaling.identity,
        encode=encode,
        length=length,
        collator=collator,
        config_fields=config_fields,
    ),
    targets=CLASSIFICATION,
    shared=("image_size", "num_channels"),
)
