"""What a dataset is once it is decoded, and how to tell whether it is the genuine one."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from airbench.errors import DataError

Array = npt.NDArray[np.uint8]

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

GENUINE_CIFAR10 = {
    "train": "6a3b2c04d0a79ce272dcdacaf0bc440275db5a8cbe3717521a28fada2ea0d2ed",
    "test": "65a6ffe079453e514083f99356b35e02cbfd581b4951e3937fae188974b79f39",
}
"""SHA-256 fingerprints, as :func:`fingerprint` computes them, of the dataset that Krizhevsky published."""


@dataclass(frozen=True)
class Split:
    """Images ``(N, H, W, 3)`` in uint8 RGB and their labels ``(N,)`` in uint8, in canonical order."""

    images: Array
    labels: Array
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A training and a test split.

    ``source`` says where they came from; ``mean`` and ``std`` are the training images' per-channel statistics
    on the scale 0..1, rounded to four digits as the field quotes them.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    held_out: int = 0
    """So many training images stand in for the test images."""

    @property
    def genuine(self) -> bool:
        """Whether both splits are CIFAR-10 exactly as published."""
        return {"train": self.train.fingerprint, "test": self.test.fingerprint} == GENUINE_CIFAR10

    def hold_out(self, count: int) -> "Dataset":
        """This dataset with its last ``count`` training images in place of its test images.

        The canonical order is that of digests, so they are a fair sample. Raises DataError if too few are left.
        """
        images, labels = self.train.images, self.train.labels
        if count >= len(labels):
            raise DataError(f"data.held_out = {count}: {self.source} has only {len(labels)} training images")
        train, held_out = (make_split(images[part], labels[part]) for part in (slice(-count), slice(-count, None)))
        source = self.source if self.genuine or self.name != "cifar10" else f"{self.source} (NOT the genuine CIFAR-10)"
        return replace(self, train=train, test=held_out, held_out=count, source=source)


def image_digests(images: Array, labels: Array) -> Array:
    """``(N, 32)``: SHA-256 of each image's bytes (H × W × C) followed by one byte with its label."""
    digests = bytearray()
    for image, label in zip(np.ascontiguousarray(images), labels, strict=True):
        hasher = hashlib.sha256(image.data)
        hasher.update(bytes((int(label),)))
        digests += hasher.digest()
    return np.frombuffer(bytes(digests), np.uint8).reshape(-1, 32)


def make_split(images: Array, labels: Array) -> Split:
    """Images and labels in canonical order (that of their digests), with their fingerprint.

    The canonical order is the same whichever layout the images were read from, and mixes the classes, so
    that "the first 5,000 training images" are the same fair sample for everybody.
    """
    digests = image_digests(images, labels)
    order = np.lexsort(digests.T[::-1])
    fingerprint = hashlib.sha256(digests[order].tobytes()).hexdigest()
    return Split(np.ascontiguousarray(images[order]), labels[order], fingerprint)


def fingerprint(split: Split) -> str:
    """The split's fingerprint, computed anew: SHA-256 over the sorted digests of its images."""
    return make_split(split.images, split.labels).fingerprint


def make_dataset(
    name: str, train: tuple[Array, Array], test: tuple[Array, Array], classes: tuple[str, ...], source: str
) -> Dataset:
    """Check images ``(N, H, W, 3)`` and labels ``(N,)`` of both splits and put them into canonical order.

    Raises DataError for empty splits, wrong shapes, and labels or classes that do not fit.
    """
    for split, (images, labels) in (("train", train), ("test", test)):
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise DataError(
                f"{source}: {split} images have shape {images.shape} and type {images.dtype}; "
                "they must be N×H×W×3 bytes"
            )
        if labels.shape != images.shape[:1] or len(labels) == 0:
            raise DataError(f"{source}: {split}: {len(images)} images but {labels.size} labels")
        if labels.min() < 0 or labels.max() >= len(classes):
            raise DataError(f"{source}: {split}: labels must lie in 0..{len(classes) - 1}")
        missing = [classes[c] for c in sorted(set(range(len(classes))) - set(np.unique(labels).tolist()))]
        if missing:
            raise DataError(f"{source}: {split}: no images of class {', '.join(missing)}")
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(f"{source}: train and test images differ in shape")
    mean, std = channel_statistics(train[0])
    return Dataset(name, make_split(*train), make_split(*test), classes, mean, std, source)


def channel_statistics(images: Array) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Per-channel mean and standard deviation on the scale 0..1, rounded to four digits."""
    values = np.arange(256) / 255
    mean, std = [], []
    for channel in range(3):  # exact, and without a float copy of the images
        share = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., channel].size
        average = float(share @ values)
        mean.append(round(average, 4))
        std.append(max(round(float(np.sqrt(share @ (values - average) ** 2)), 4), 1e-4))
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
