"""Light augmentation of images: each training batch sees them moved, turned or lit a little."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def drawn(turns: Sequence[Sequence[int]]) -> Any:
    """Return the random numbers of images (images x 6, from -1 to 1), each from its own seed.

    Of a seed of its own, and not of the generator of the training: a training that resumes in the
    middle of an epoch changes each image as it would have been.
    """
    import numpy as np
    import torch

    numbers = [np.random.default_rng(turn).uniform(-1, 1, 6) for turn in turns]
    return torch.from_numpy(np.array(numbers, dtype=np.float32))


def augmented(pixels: Any, settings: Augmentation, numbers: Any) -> Any:
    """Return changed images (rows x channels x height x width).

    Flip, shift, turn and zoom are one affine map, read by bilinear interpolation; what lies
    outside of an image is its own reflection.

    Args:
        numbers: those that `drawn` returned for the images.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    turned, zoomed, mirrored, right, down, lit = numbers.T
    if settings.flip or settings.shift or settings.rotation or settings.zoom:
        angle = turned * (settings.rotation * math.pi / 180)
        scale = 1 + zoomed * settings.zoom
        mirror = torch.ones(len(pixels))
        if settings.flip:
            mirror = torch.where(mirrored < 0, -1.0, 1.0)
        # The grid runs from -1 to 1, so a shift by the whole side is 2.
        right, down = right * (2 * settings.shift), down * (2 * settings.shift)
        cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
        first = torch.stack([mirror * cosine, -sine, right], dim=1)
        second = torch.stack([mirror * sine, cosine, down], dim=1)
        maps = torch.stack([first, second], dim=1)
        grid = affine_grid(maps, list(pixels.shape), align_corners=False)
        pixels = grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    if settings.brightness:
        pixels = pixels + (lit * settings.brightness).view(-1, 1, 1, 1)
    return pixels
