"""Image classification: pixels of one shape, scaled by the collator as the base model expects.

A pretrained model decides the shape and the scale; one from scratch follows `task.config`, else
the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.classification.one_label import ClassificationKind, encode_labels
from hpo_pipeline.tasks.inputs.base_config import base_config
from hpo_pipeline.tasks.inputs.image_augmentation import Augmentation, augmented, drawn
from hpo_pipeline.tasks.inputs.image_scaling import ImageScaling
from hpo_pipeline.tasks.kind import Batch, Collate, DataSource, Form, Row, Shape
from hpo_pipeline.tasks.task_fields import TaskFields

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


class ImageClassification(ClassificationKind):
    """One label for an image."""

    Settings = Augmentation
    searchable: ClassVar[tuple[str, ...]] = ("freeze", *Augmentation.model_fields)
    shared: ClassVar[tuple[str, ...]] = ("image_size", "num_channels")
    has_text: ClassVar[bool] = False

    def pipeline(self, task: TaskFields) -> str:
        """Return transformers' name of the pipeline."""
        return "image-classification"

    def usage(self, task: TaskFields) -> str:
        """Return Python lines that use the model."""
        return USAGE

    def form(self, task: TaskFields) -> Form:
        """Return that a row has an image and a class."""
        return Form("image", "class")

    def model_class(self, task: TaskFields) -> Any:
        """Return transformers' auto class."""
        from transformers import AutoModelForImageClassification

        return AutoModelForImageClassification

    def read(self, task: TaskFields, source: DataSource) -> Any:
        """Read a folder of images for each label, in the shape that the model takes.

        Raises:
            DataError: the data or the config of the model cannot be read.
        """
        size, channels = task.config.get("image_size"), task.config.get("num_channels")
        if not task.from_scratch:
            model = source.model()
            config = base_config(task, model)
            # Models of text and images keep that of the images apart.
            config = getattr(config, "vision_config", None) or config
            size = (
                size or getattr(config, "image_size", None) or _size_of(_preprocessor(task, model))
            )
            channels = channels or getattr(config, "num_channels", None) or 3
        if channels not in (None, 1, 3):
            raise DataError(
                f"task.model: images have 1 or 3 channels, and num_channels is {channels!r}"
            )
        return source.images(size=_height_and_width(size), channels=channels)

    def processor(
        self, task: TaskFields, source: str, inputs: Sequence[Any], shape: Shape | None
    ) -> ImageScaling:
        """Return the scaling of the base model, or pixels from -1 to 1 for one from scratch.

        Raises:
            DataError: the config of the model's image processor makes no sense.
        """
        assert shape is not None
        return ImageScaling.of(shape, {} if task.from_scratch else _preprocessor(task, source))

    def load_processor(self, folder: Path) -> ImageScaling:
        """Return the scaling that a folder holds."""
        return ImageScaling.load(folder)

    def identity(self, processor: ImageScaling) -> str:
        """Return a text that changes with the scaling."""
        return processor.identity()

    def encode(
        self, task: TaskFields, batch: Batch, processor: Any, names: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the pixels of each image as they are, and the number of the label."""
        return {"pixels": list(batch["input"]), "label": encode_labels(batch["label"], names)}

    def collator(self, task: TaskFields, processor: ImageScaling, shape: Shape | None) -> Collate:
        """Return the function that makes a batch (rows x channels x height x width)."""
        import numpy as np
        import torch

        assert shape is not None
        mean, std = torch.tensor(processor.mean), torch.tensor(processor.std)

        def collate(rows: list[Row]) -> dict[str, Any]:
            pixels = np.frombuffer(b"".join(row["pixels"] for row in rows), dtype=np.uint8)
            images = torch.from_numpy(pixels.reshape(len(rows), *shape).astype(np.float32))
            scaled = (images / 255 - mean).div_(std)
            batch = {"pixel_values": scaled.permute(0, 3, 1, 2).contiguous()}
            if "label" in rows[0]:
                batch["labels"] = torch.tensor([row["label"] for row in rows])
            return batch

        return collate

    def trainer(self, task: TaskFields, **arguments: Any) -> Any:
        """Return a Trainer whose training batches are augmented, where the task says how."""
        settings: Augmentation = task.settings
        if not settings.is_on:
            return super().trainer(task, **arguments)
        from hpo_pipeline.tasks.epoch_rows import TURN, EpochCallback, EpochRows
        from hpo_pipeline.tasks.training_collator import TrainingCollatorTrainer

        collate: Collate = arguments["data_collator"]

        def augmented_batch(rows: list[Row]) -> dict[str, Any]:
            batch, numbers = collate(rows), drawn([row[TURN] for row in rows])
            return {**batch, "pixel_values": augmented(batch["pixel_values"], settings, numbers)}

        train = EpochRows(arguments["train_dataset"], arguments["args"].seed)
        changed = {
            "train_dataset": train,
            "callbacks": [*arguments.get("callbacks", ()), EpochCallback(train)],
        }
        return TrainingCollatorTrainer(training_collator=augmented_batch, **arguments | changed)

    def config_fields(
        self, task: TaskFields, processor: ImageScaling, shape: Shape | None
    ) -> dict[str, Any]:
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


KIND = ImageClassification()
