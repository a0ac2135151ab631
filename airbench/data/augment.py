"""Augmentation: the random draws of an epoch, and what they do to a batch of images.

Draws are made on the host, so that one seed means the same order and the same augmentation on every device;
they are a few bytes an image. Pixels are only ever touched on the device.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from airbench.device import send
from airbench.recipe.schema import Augment


@dataclass(frozen=True)
class Draws:
    """What happens to each of N images in one epoch."""

    flip: Tensor
    """Bool ``(N,)``: mirrored or not."""
    shift: Tensor
    """Int64 ``(N, 2)``: row and column, in 0..2·translate, where the crop starts in the padded image."""
    hole: Tensor
    """Int64 ``(N, 2)``: row and column of the corner of the cutout square."""
    colour: Tensor
    """Float32 ``(N, 2)``: what is added to an image, and what it is then multiplied with."""

    def to(self, device: torch.device) -> "Draws":
        """The same draws on ``device``."""
        return Draws(*(send(t, device) for t in (self.flip, self.shift, self.hole, self.colour)))


class AugmentationStream:
    """Draws the augmentation of epoch after epoch for ``count`` images of side ``side`` pixels.

    With alternating flip, epoch 0 mirrors a random half of the images, and every image then is the other way
    round in every following epoch: any two consecutive epochs show it both ways (Jordan 2024, section 3.2).
    """

    def __init__(self, augment: Augment, count: int, side: int, generator: torch.Generator):
        self.augment, self.count, self.side, self.generator = augment, count, side, generator
        self.first_flip = torch.zeros(count, dtype=torch.bool)

    def draw(self, epoch: int) -> Draws:
        """The draws of ``epoch``. Epochs must be drawn in order, from 0."""
        flip = self._flip(self.augment.flip, epoch)
        shift = self._integers(2 * self.augment.translate + 1)
        hole = self._integers(self.side - self.augment.cutout + 1 if self.augment.cutout else 1)
        return Draws(flip, shift, hole, self._colours())

    def _flip(self, kind: Literal["none", "random", "alternating"], epoch: int) -> Tensor:
        if kind == "none":
            return torch.zeros(self.count, dtype=torch.bool)
        if kind == "random" or epoch == 0:
            self.first_flip = torch.randint(0, 2, (self.count,), generator=self.generator).bool()
            return self.first_flip
        return self.first_flip.logical_not() if epoch % 2 else self.first_flip

    def _integers(self, below: int) -> Tensor:
        """Uniform in 0..below-1, ``(count, 2)``. Nothing is drawn where there is only one choice."""
        if below == 1:
            return torch.zeros(self.count, 2, dtype=torch.int64)
        return torch.randint(0, below, (self.count, 2), generator=self.generator)

    def _colours(self) -> Tensor:
        """``(count, 2)``: in ±brightness, and in 1 ± contrast. Nothing is drawn where there is nothing to choose."""
        if not self.augment.brightness and not self.augment.contrast:
            return torch.tensor([0.0, 1.0]).expand(self.count, 2)
        uniform = 2 * torch.rand(self.count, 2, generator=self.generator) - 1
        return uniform * torch.tensor([self.augment.brightness, self.augment.contrast]) + torch.tensor([0.0, 1.0])


def pad_reflect(images: Tensor, margin: int) -> Tensor:
    """``(N, H, W, C)`` → ``(N, H + 2·margin, W + 2·margin, C)``, mirrored at the border pixels.

    Any dtype, any device: torch.nn.functional.pad reflects neither uint8 nor channels-last images.
    """
    if margin == 0:
        return images
    height, width = images.shape[1:3]

    def reflect(size: int) -> Tensor:
        index = torch.arange(-margin, size + margin, device=images.device).abs()
        return torch.where(index >= size, 2 * (size - 1) - index, index)

    return images.index_select(1, reflect(height)).index_select(2, reflect(width))


def crop(padded: Tensor, index: Tensor, shift: Tensor, side: int) -> Tensor:
    """Crops of the padded images ``(N, H, W, C)`` numbered ``index`` ``(B,)`` → ``(B, side, side, C)``.

    One gather, whatever the shifts: every possible crop is a strided view of the padded images.
    """
    windows = padded.unfold(1, side, 1).unfold(2, side, 1)  # (N, rows, columns, C, side, side)
    return windows.permute(0, 1, 2, 4, 5, 3)[index, shift[:, 0], shift[:, 1]]


def mirror(images: Tensor, flip: Tensor) -> Tensor:
    """Mirror those of ``(B, H, W, C)`` left-right for which ``flip`` ``(B,)`` is true."""
    return torch.where(flip[:, None, None, None], images.flip(2), images)


def cut_out(images: Tensor, hole: Tensor, size: int) -> Tensor:
    """Set a square of ``size`` pixels at ``hole`` ``(B, 2)`` to 0, the mean colour, in ``(B, H, W, C)``."""
    rows = torch.arange(images.shape[1], device=images.device)
    columns = torch.arange(images.shape[2], device=images.device)
    row, column = hole[:, 0, None], hole[:, 1, None]
    inside_rows = (rows >= row) & (rows < row + size)
    inside_columns = (columns >= column) & (columns < column + size)
    return images.masked_fill((inside_rows[:, :, None] & inside_columns[:, None, :])[..., None], 0)


def recolour(images: Tensor, colour: Tensor) -> Tensor:
    """Add ``colour[:, 0]`` to ``(B, H, W, C)``, then multiply with ``colour[:, 1]``."""
    added, factor = colour.to(images.dtype)[:, :, None, None, None].unbind(1)
    return (images + added) * factor
