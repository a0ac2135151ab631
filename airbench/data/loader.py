"""Batches from images that live on the device: normalised once, cropped and mirrored batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from airbench.data.augment import AugmentationStream, crop, cut_out, mirror, pad_reflect, recolour
from airbench.data.dataset import Dataset, Split
from airbench.device import send
from airbench.recipe.schema import Augment

CHUNK = 5000
"""Images that are normalised at a time: it bounds the memory that float32 intermediates take."""


@dataclass(frozen=True)
class DeviceSplit:
    """A split on the device: images ``(N, H, W, 3)`` uint8, labels ``(N,)`` int64, and what normalises them."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def normalized(self, dtype: torch.dtype, count: int | None = None) -> Tensor:
        """The first ``count`` images, or all, as (x/255 - mean) / std: ``(N, 3, H, W)``, channels-last."""
        return normalize(self.images[:count], self.mean, self.std, dtype).permute(0, 3, 1, 2)


def to_device(split: Split, dataset: Dataset, device: torch.device, count: int | None = None) -> DeviceSplit:
    """Move the first ``count`` images of a split, or all, to the device."""
    return DeviceSplit(
        torch.from_numpy(split.images[:count]).to(device),
        torch.from_numpy(split.labels[:count]).to(device, torch.int64),
        torch.tensor(dataset.mean, device=device),
        torch.tensor(dataset.std, device=device),
    )


def normalize(images: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """(x/255 - mean) / std per channel: ``(N, H, W, 3)`` uint8 → the same shape in ``dtype``.

    Computed in float32 whatever ``dtype`` is.
    """
    scale, offset = 1 / (255 * std), -mean / std
    out = torch.empty(images.shape, dtype=dtype, device=images.device)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].float()
        out[start : start + CHUNK] = chunk.mul_(scale).add_(offset)
    return out


class Loader:
    """Shuffled, augmented batches of a split, epoch after epoch; the last incomplete batch is dropped.

    ``order`` and ``augment_generator`` are host generators: one seed gives the same batches on every device.
    Creating a loader normalises and pads all images, so it belongs on the clock.
    """

    def __init__(
        self,
        split: DeviceSplit,
        augment: Augment,
        batch_size: int,
        dtype: torch.dtype,
        order: torch.Generator,
        augment_generator: torch.Generator,
    ):
        self.labels = split.labels
        self.augment, self.batch_size, self.order = augment, batch_size, order
        self.side = split.images.shape[1]
        self.stream = AugmentationStream(augment, len(split), self.side, augment_generator)
        padded = pad_reflect(split.images, augment.translate)
        self.padded = normalize(padded, split.mean, split.std, dtype)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.labels) // self.batch_size

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of epoch ``number``: images ``(B, 3, H, W)`` channels-last, labels ``(B,)``."""
        device = self.labels.device
        order = send(torch.randperm(len(self.labels), generator=self.order), device)
        draws = self.stream.draw(number).to(device)
        for index in order.split(self.batch_size)[: len(self)]:
            images = crop(self.padded, index, draws.shift[index], self.side)
            if self.augment.flip != "none":
                images = mirror(images, draws.flip[index])
            if self.augment.cutout:
                images = cut_out(images, draws.hole[index], self.augment.cutout)
            if self.augment.brightness or self.augment.contrast:
                images = recolour(images, draws.colour[index])
            yield images.permute(0, 3, 1, 2), self.labels[index]
