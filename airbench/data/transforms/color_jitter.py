"""Random brightness and contrast."""

from dataclasses import replace

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.transforms.base import ImageShape, Transform
from airbench.recipe.transforms import ColorJitter


class ColorJitterTransform(Transform):
    """Add a number to each image, then multiply it by another. Draws the two, ``(n, 2)`` float32."""

    def __init__(self, config: ColorJitter, shape: ImageShape):
        self.reach = (config.brightness, config.contrast)

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Draw uniformly from ± brightness, and from 1 ± contrast."""
        if not any(self.reach):
            return None
        uniform = 2 * torch.rand(n, 2, generator=generator) - 1
        return uniform * torch.tensor(self.reach) + torch.tensor([0.0, 1.0])

    def apply(self, batch: Batch, draw: Tensor) -> Batch:
        """Add ``draw[:, 0]``, then multiply by ``draw[:, 1]``."""
        added, factor = draw.to(batch.images.dtype)[:, :, None, None, None].unbind(1)
        return replace(batch, images=(batch.images + added) * factor)
