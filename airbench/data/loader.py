"""Batches of images that live on the device: normalised once, cropped and augmented batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.dataset import Dataset, Split
from airbench.data.transforms import Crop, Transform
from airbench.data.transforms.crop import crop
from airbench.data.transforms.flip import FlipTransform
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


@dataclass(frozen=True)
class Epoch:
    """What is drawn for an epoch, on the device, a row for each image in the order in which they are shown."""

    order: Tensor
    """The images, ``(N,)``."""
    labels: Tensor
    """Their classes, ``(N,)``."""
    places: Tensor | None
    """Where each one's crop is taken: image, row and column, ``(N, 3)``. None: the whole image."""
    draws: list[tuple[Transform, Tensor]]
    """What the other augmentations draw for it."""

    def rest(self, start: int) -> "Epoch":
        """Return the rows from ``start`` on."""
        places = None if self.places is None else self.places[start:]
        return Epoch(self.order[start:], self.labels[start:], places, [(t, draw[start:]) for t, draw in self.draws])

    def followed_by(self, other: "Epoch") -> "Epoch":
        """Return the rows of both, drawn by the same loader."""
        places = None
        if self.places is not None and other.places is not None:
            places = torch.cat([self.places, other.places])
        pairs = zip(self.draws, other.draws, strict=True)
        return Epoch(
            torch.cat([self.order, other.order]),
            torch.cat([self.labels, other.labels]),
            places,
            [(t, torch.cat([own, others])) for (t, own), (_, others) in pairs],
        )


class Loader:
    """Shuffled, augmented batches of a split, epoch after epoch.

    The last, incomplete batch of an epoch is dropped or kept, or the next epoch's first images complete it
    (``carry_over``).
    ``order`` and ``augment`` are host generators: one seed gives the same batches on every device. Crops are cut while
    a batch is gathered. With ``mirrored`` (None: on CUDA) so are mirror images, from a mirrored copy that is kept
    beside the images. Creating a loader normalises and pads all images, so it belongs on the clock.
    """

    def __init__(
        self,
        split: DeviceSplit,
        transforms: Sequence[Transform],
        batch_size: int,
        dtype: torch.dtype,
        order: torch.Generator,
        augment: torch.Generator,
        mirrored: bool | None = None,
        last_batch: Literal["drop", "carry_over", "keep"] = "drop",
        shuffle: bool = True,
    ):
        self.last_batch, self.shuffle = last_batch, shuffle
        self.labels, self.transforms, self.batch_size = split.labels, list(transforms), batch_size
        self.order, self.augment = order, augment
        self.side = split.images.shape[1]
        self.crop = next((t for t in transforms if isinstance(t, Crop)), None)
        to_float = partial(normalize, mean=split.mean, std=split.std, dtype=dtype)
        self.images = self.crop.padded(split.images, to_float) if self.crop else to_float(split.images)
        self.flip: Transform | None = None
        """The augmentation that is done while a batch is gathered, if it comes before all but the crop."""
        others = [t for t in transforms if t is not self.crop]
        if others and isinstance(others[0], FlipTransform) and (split.images.is_cuda if mirrored is None else mirrored):
            self.flip = others[0]
            self.images = torch.cat([self.images, self.images.flip(2)])
        self._next: Epoch | None = None

    def __len__(self) -> int:
        """Return the number of batches in an epoch; with ``carry_over``, in the first one."""
        whole, rest = divmod(len(self.labels), self.batch_size)
        return whole + (1 if rest and self.last_batch == "keep" else 0)

    def epoch(self) -> Iterator[Batch]:
        """Return the batches of the next epoch. Ends by drawing another: a GPU still has the last batches to do."""
        epoch, self._next = self._next or self._draw(), None
        count = len(epoch.order)
        end = count if self.last_batch == "keep" else count // self.batch_size * self.batch_size
        for start in range(0, end, self.batch_size):
            rows = slice(start, start + self.batch_size)
            index, places = epoch.order[rows], epoch.places
            images = self.images[index] if places is None else crop(self.images, places[rows], self.side)
            batch = Batch(images.permute(0, 3, 1, 2), epoch.labels[rows], index)
            for transform, draw in epoch.draws:
                batch = transform.apply(batch, draw[rows])
            yield batch
        self._next = self._draw()
        if self.last_batch == "carry_over" and end < count:
            self._next = epoch.rest(end).followed_by(self._next)

    def _draw(self) -> Epoch:
        """Draw the order of an epoch and what happens to each image, and send both to the device."""
        count = len(self.labels)
        order = torch.randperm(count, generator=self.order) if self.shuffle else torch.arange(count)
        drawn = [(t, t.draw(count, self.augment)) for t in self.transforms]
        corner = next((draw for t, draw in drawn if t is self.crop), None)
        flip = next((draw for t, draw in drawn if t is self.flip), None)
        places = self._places(corner, flip)
        others = [(t, draw) for t, draw in drawn if draw is not None and t not in (self.crop, self.flip)]
        on_device = self._to_device(order)
        return Epoch(
            on_device,
            self.labels[on_device],
            None if places is None else self._to_device(places[order]),
            [(t, self._to_device(draw[order])) for t, draw in others],
        )

    def _places(self, corner: Tensor | None, flip: Tensor | None) -> Tensor | None:
        """Where to take each image from, ``(N, 3)``. The crop of a mirrored image is that of the mirrored copy."""
        if corner is None and flip is None:
            return None
        count = len(self.labels)
        corner = torch.zeros(count, 2, dtype=torch.int64) if corner is None else corner
        image, (row, column) = torch.arange(count), corner.unbind(1)
        if flip is not None:
            last = self.images.shape[2] - self.side
            image, column = image + count * flip, torch.where(flip, last - column, column)
        return torch.stack([image, row, column], 1)

    def _to_device(self, tensor: Tensor) -> Tensor:
        return send(tensor, self.labels.device)
