"""Mirroring."""

from dataclasses import replace

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.transforms.base import ImageShape, Transform
from airbench.recipe.transforms import Flip


class FlipTransform(Transform):
    """Mirror images left-right. Draws bool ``(n,)``.

    With ``alternating``, epoch 0 mirrors a random half of the images, and every image is the other way round in each
    following epoch: any two consecutive epochs show it both ways (Jordan 2024, section 3.2).
    """

    def __init__(self, config: Flip, shape: ImageShape):
        self.kind = config.kind
        self.last: Tensor | None = None

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Flip a coin for each image; with ``alternating`` only in the first epoch."""
        if self.kind == "none":
            return None
        if self.kind == "random" or self.last is None:
            self.last = torch.randint(0, 2, (n,), generator=generator).bool()
        else:
            self.last = self.last.logical_not()
        return self.last

    def apply(self, batch: Batch, draw: Tensor) -> Batch:
        """Mirror the images for which ``draw`` ``(B,)`` is true."""
        return replace(batch, images=torch.where(draw[:, None, None, None], batch.images.flip(3), batch.images))
