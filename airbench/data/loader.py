"""Batches of images that live on the device: normalised once, cropped and augmented batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.dataset import Dataset, Split
from airbench.data.transforms import Crop, Transform
from airbench.data.transforms.crop import crop
from airbench.device import send

CHUNK = 5000
"""Images that are normalised at a time: it bounds the memory that float32 intermediates take."""


@dataclass(frozen=True)
class DeviceSplit:
    """A split on the device: images ``(N, H, W, C)`` uint8, labels ``(N,)`` int64, and what normalises them."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def normalized(self, dtype: torch.dtype, count: int | None = None) -> Tensor:
        """Return the first ``count`` images, or all, as (x/255 - mean) / std: ``(N, C, H, W)``, channels-last."""
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
    """Return (x/255 - mean) / std per channel: ``(N, H, W, C)`` uint8 → the same shape in ``dtype``.

    Computed in float32 whatever ``dtype`` is.
    """
    scale, offset = 1 / (255 * std), -mean / std
    out = torch.empty(images.shape, dtype=dtype, device=images.device)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].float()
        out[start : start + CHUNK] = chunk.mul_(scale).add_(offset)
    return out


Epoch = tuple[Tensor, list[tuple[Transform, Tensor]]]
"""The order of the images, and what each augmentation draws for each of them."""


class Loader:
    """Shuffled, augmented batches of a split, epoch after epoch; the last incomplete batch is dropped.

    ``order`` and ``augment`` are host generators: one seed gives the same batches on every device.
    Creating a loader normalises and pads all images, so it belongs on the clock.
    """

    def __init__(
        self,
        split: DeviceSplit,
        transforms: Sequence[Transform],
        batch_size: int,
        dtype: torch.dtype,
        order: torch.Generator,
        augment: torch.Generator,
    ):
        self.labels, self.transforms, self.batch_size = split.labels, list(transforms), batch_size
        self.order, self.augment = order, augment
        self.side = split.images.shape[1]
        self.crop = next((t for t in transforms if isinstance(t, Crop)), None)
        to_float = partial(normalize, mean=split.mean, std=split.std, dtype=dtype)
        self.images = self.crop.padded(split.images, to_float) if self.crop else to_float(split.images)
        self._next: Epoch | None = None

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.labels) // self.batch_size

    def epoch(self) -> Iterator[Batch]:
        """Return the batches of the next epoch. Ends by drawing another: a GPU still has the last batches to do."""
        order, draws = self._next or self._draw()
        for index in order.split(self.batch_size)[: len(self)]:
            batch = self._gather(index, draws)
            for transform, draw in draws:
                batch = transform.apply(batch, draw[index])
            yield batch
        self._next = self._draw()

    def _draw(self) -> "Epoch":
        """Draw the order of an epoch and what happens to each image, and send both to the device."""
        order = self._to_device(torch.randperm(len(self.labels), generator=self.order))
        drawn = [(t, t.draw(len(self.labels), self.augment)) for t in self.transforms]
        return order, [(t, self._to_device(draw)) for t, draw in drawn if draw is not None]

    def _gather(self, index: Tensor, draws: Sequence[tuple[Transform, Tensor]]) -> Batch:
        corner = next((draw[index] for transform, draw in draws if transform is self.crop), None)
        images = self.images[index] if corner is None else crop(self.images, index, corner, self.side)
        return Batch(images.permute(0, 3, 1, 2), self.labels[index], index)

    def _to_device(self, tensor: Tensor) -> Tensor:
        return send(tensor, self.labels.device)
