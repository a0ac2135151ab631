"""Mixup and CutMix: each image is mixed with the next one of its batch, which is a random one."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.transforms.base import ImageShape, Transform
from airbench.data.transforms.cutout import in_rectangle
from airbench.recipe.transforms import Cutmix, Mixup


class MixupTransform(Transform):
    """Blend images and targets (Zhang et al. 2018, arXiv 1710.09412). Draws the image's own share, ``(n,)`` float32."""

    def __init__(self, config: Mixup, shape: ImageShape):
        self.alpha, self.classes = config.alpha, shape.classes

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Draw from Beta(alpha, alpha)."""
        return torch.from_numpy(_numpy(generator).beta(self.alpha, self.alpha, n).astype(np.float32))

    def apply(self, batch: Batch, draw: Tensor) -> Batch:
        """Return ``draw`` · itself + (1 - ``draw``) · the next one."""
        share = draw.to(batch.images.dtype)[:, None, None, None]
        images = share * batch.images + (1 - share) * batch.images.roll(1, 0)
        return replace(batch, images=images, targets=_mixed_targets(batch, draw, self.classes))


class CutmixTransform(Transform):
    """Replace a rectangle of each image, and its target in proportion (Yun et al. 2019, arXiv 1905.04899).

    Draws, as shares of the side, the rectangle's centre and half its side: ``(n, 3)`` float32.
    """

    def __init__(self, config: Cutmix, shape: ImageShape):
        self.alpha, self.classes = config.alpha, shape.classes

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Draw the centre uniformly, and the area from Beta(alpha, alpha)."""
        rng = _numpy(generator)
        area = rng.beta(self.alpha, self.alpha, (n, 1))
        return torch.from_numpy(np.concatenate([rng.random((n, 2)), np.sqrt(area) / 2], axis=1).astype(np.float32))

    def apply(self, batch: Batch, draw: Tensor) -> Batch:
        """Paste the rectangle of the next image; an image's share is what is left of it inside its border."""
        side = batch.images.shape[2]
        centre, half = draw[:, :2] * side, draw[:, 2:] * side
        low, high = ((centre - half).round().clamp(0, side).long(), (centre + half).round().clamp(0, side).long())
        inside = in_rectangle(batch.images, low, high)
        images = torch.where(inside, batch.images.roll(1, 0), batch.images)
        share = 1 - inside.float().mean((1, 2, 3))
        return replace(batch, images=images, targets=_mixed_targets(batch, share, self.classes))


def _mixed_targets(batch: Batch, share: Tensor, classes: int) -> Tensor:
    """Probabilities ``(B, classes)``: ``share`` ``(B,)`` of an image's own target, the rest of the next one's."""
    own = batch.targets if batch.targets.ndim == 2 else F.one_hot(batch.targets, classes).float()
    return share[:, None] * own + (1 - share[:, None]) * own.roll(1, 0)


def _numpy(generator: torch.Generator) -> np.random.Generator:
    """Return NumPy's generator, seeded from PyTorch's, which cannot draw from a beta distribution."""
    seed = torch.randint(0, 2**63 - 1, (1,), generator=generator, dtype=torch.int64)
    return np.random.default_rng(int(seed))
