"""Light augmentation of images: each training batch sees them moved, turned or lit a little."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

from hpo_pipeline.tasks.kind import Settings


class Augmentation(Settings):
    """How far a training image may be changed, at random, each time that it is used.

    `flip` mirrors every other image; `shift` is a share of the side, `rotation` are degrees to
    either side, `zoom` is a share of the size, and `brightness` are standard deviations of the
    pixels. Evaluation never changes an image.
    """

    flip: bool = False
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    zoom: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    brightness: Annotated[float, Field(ge=0, le=2)] = 0.0

    @property
    def is_on(self) -> bool:
        """Whether anything is changed at all."""
        return any(getattr(self, name) for name in type(self).model_fields)


def augmented(pixels: Any, settings: Augmentation) -> Any:
    """Return changed images (rows x channels x height x width), by torch's random numbers.

    Flip, shift, turn and zoom are one affine map, read by bilinear interpolation; what lies
    outside of an image is its own reflection.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    rows = len(pixels)
    if settings.flip or settings.shift or settings.rotation or settings.zoom:
        angle = _uniform(rows, settings.rotation * math.pi / 180)
        scale = 1 + _uniform(rows, settings.zoom)
        mirror = torch.ones(rows)
        if settings.flip:
            mirror = torch.where(torch.rand(rows) < 0.5, -1.0, 1.0)
        # The grid runs from -1 to 1, so a shift by the whole side is 2.
        right, down = _uniform(rows, 2 * settings.shift), _uniform(rows, 2 * settings.shift)
        cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
        first = torch.stack([mirror * cosine, -sine, right], dim=1)
        second = torch.stack([mirror * sine, cosine, down], dim=1)
        maps = torch.stack([first, second], dim=1)
        grid = affine_grid(maps, list(pixels.shape), align_corners=False)
        pixels = grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    if settings.brightness:
        pixels = pixels + _uniform(rows, settings.brightness).view(-1, 1, 1, 1)
    return pixels


def _uniform(rows: int, bound: float) -> Any:
    """Return a number from -bound to bound for each row."""
    import torch

    return (torch.rand(rows) * 2 - 1) * bound
