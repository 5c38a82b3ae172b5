"""How the pixels of an image become the numbers that a model expects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from hpo_pipeline.errors import DataError
from hpo_pipeline.tasks.kind import Shape

FILE = "preprocessor_config.json"
_HALF = 0.5  # from scratch: pixels from -1 to 1


@dataclass(frozen=True)
class ImageScaling:
    """The mean and the standard deviation by channel, of pixels from 0 to 1, and the image size.

    It is saved as the config of an image processor, with which transformers prepares images for
    the finished model as they were prepared for the training.
    """

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, shape: Shape, preprocessor: Mapping[str, Any]) -> Self:
        """Return the scaling of a base model, given the config of its image processor.

        Raises:
            DataError: the config has another number of channels, or a scale of 0.
        """
        height, width, channels = shape
        found = [
            _by_channel(preprocessor.get(f"image_{name}", _HALF), channels)
            for name in ("mean", "std")
        ]
        if preprocessor.get("do_normalize") is False:
            found = [(0.0,) * channels, (1.0,) * channels]
        mean, std = found
        if mean is None or std is None or 0.0 in std:
            raise DataError(
                f"task.model: its {FILE} must have image_mean and image_std for {channels} "
                f"channels, got {preprocessor.get('image_mean')!r} and "
                f"{preprocessor.get('image_std')!r}"
            )
        return cls(height, width, mean, std)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the scaling that a folder holds.

        Raises:
            DataError: it holds none that can be read.
        """
        try:
            found = json.loads((folder / FILE).read_text("utf-8"))
            size = found["size"]
            mean, std = tuple(found["image_mean"]), tuple(found["image_std"])
            return cls(int(size["height"]), int(size["width"]), mean, std)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{folder / FILE}: does not say how images are scaled ({error!r})"
            ) from error

    def save_pretrained(self, folder: str) -> None:
        """Write the scaling as the config of an image processor of transformers."""
        content = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": self.height, "width": self.width},
            "resample": 2,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")

    def identity(self) -> str:
        """Return a text that changes with the scaling."""
        return json.dumps(asdict(self), sort_keys=True)


def _by_channel(value: object, channels: int) -> tuple[float, ...] | None:
    """Return a number, or a list of them, as one number for each channel."""
    listed: Sequence[object] = value if isinstance(value, list | tuple) else [value]
    values = [float(v) for v in listed if isinstance(v, int | float)]
    if not values or len(values) < len(listed):
        return None
    if len(set(values)) == 1:
        return (values[0],) * channels
    if channels == 1:  # grey images for a model that was trained on colours
        return (sum(values) / len(values),)
    return tuple(values) if len(values) == channels else None
