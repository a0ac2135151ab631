"""Cutout."""

from dataclasses import replace

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.transforms.base import ImageShape, Transform
from airbench.errors import RecipeError
from airbench.recipe.transforms import Cutout


class CutoutTransform(Transform):
    """Set a square to 0, the mean colour. Draws the row and column of its corner, ``(n, 2)`` int64."""

    def __init__(self, config: Cutout, shape: ImageShape):
        if config.size > shape.side:
            raise RecipeError(
                f"size = {config.size}: the images are {shape.side}×{shape.side}; give at most {shape.side}"
            )
        self.size, self.choices = config.size, shape.side - config.size + 1

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Draw uniformly from all places inside the image."""
        return torch.randint(0, self.choices, (n, 2), generator=generator) if self.size else None

    def apply(self, batch: Batch, draw: Tensor) -> Batch:
        """Clear the square at ``draw`` ``(B, 2)``."""
        inside = in_rectangle(batch.images, draw, draw + self.size)
        return replace(batch, images=batch.images.clone().masked_fill_(inside, 0))  # masked_fill loses channels-last


def in_rectangle(images: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return whether a pixel of ``(B, C, H, W)`` lies in its image's rectangle: bool ``(B, 1, H, W)``.

    ``low`` and ``high`` ``(B, 2)`` are the rectangle's first row and column, and those just past its last.
    """
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= low[:, 0, None]) & (rows < high[:, 0, None])
    in_columns = (columns >= low[:, 1, None]) & (columns < high[:, 1, None])
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
