"""Batches of images that live on the device: normalised once, cropped and augmented batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.dataset import Dataset, Split
from airbench.data.epoch import Choose, Epoch
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
        self._next: tuple[Epoch, Sequence[int]] | None = None
        self._rest: Epoch | None = None
        """Images that are carried over."""
        self._batches = 0
        """Whole batches of all epochs before the next."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch; with ``carry_over``, in the first one."""
        whole, rest = divmod(len(self.labels), self.batch_size)
        return whole + (1 if rest and self.last_batch == "keep" else 0)

    def epoch(self, choose: Choose | None = None) -> Iterator[Batch]:
        """Return the batches of the next epoch. Ends by drawing another: a GPU still has the last batches to do.

        ``choose`` says which images of whole batches are trained on; the others are not gathered. A batch that is
        carried over belongs to the epoch that completes it.
        """
        (epoch, sizes), self._next = self._next or self._prepare(choose), None
        start = 0
        for size in sizes:
            yield self._batch(epoch.rows(slice(start, start + size)))
            start += size
        self._next = self._prepare(choose)

    def _prepare(self, choose: Choose | None) -> tuple[Epoch, Sequence[int]]:
        """Draw an epoch, and return what is shown of it and the sizes of its batches."""
        epoch = self._draw() if self._rest is None else self._rest.followed_by(self._draw())
        whole, rest = divmod(len(epoch.order), self.batch_size)
        end = whole * self.batch_size
        self._rest = epoch.rows(slice(end, None)) if rest and self.last_batch == "carry_over" else None
        before, self._batches = self._batches, self._batches + whole
        choice = choose(epoch.order[:end].view(whole, -1), before) if choose else None
        if choice is not None:
            return epoch.chosen(choice), choice.sizes
        return epoch, [self.batch_size] * whole + ([rest] if rest and self.last_batch == "keep" else [])

    def _batch(self, epoch: Epoch) -> Batch:
        """Gather and augment the images of some rows of an epoch."""
        images = self.images[epoch.order] if epoch.places is None else crop(self.images, epoch.places, self.side)
        batch = Batch(images.permute(0, 3, 1, 2), epoch.labels, epoch.order, epoch.weights)
        for transform, draw in epoch.draws:
            batch = transform.apply(batch, draw)
        return batch

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
