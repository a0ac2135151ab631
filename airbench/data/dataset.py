"""What a data set is once it is decoded, and how to tell whether it is the genuine one."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from airbench.data.catalog import DatasetSpec
from airbench.errors import DataError
from airbench.recipe.data import DATASETS

Array = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Split:
    """Images ``(N, H, W, C)`` in uint8, grey or RGB, and labels ``(N,)``, in canonical order.

    Labels are uint8, or uint16 where there are more than 256 classes.
    """

    images: Array
    labels: Labels
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
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    held_out: int = 0
    """How many training images stand in for the test images."""

    @property
    def side(self) -> int:
        """Height and width of an image in pixels."""
        return self.train.images.shape[1]

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for grey."""
        return self.train.images.shape[3]

    @property
    def spec(self) -> DatasetSpec:
        """The catalog's entry, or one that claims nothing."""
        return DATASETS[self.name] if self.name in DATASETS else DatasetSpec(self.name, self.name)

    @property
    def genuine(self) -> bool:
        """Whether both splits are exactly as published; False where that cannot be told."""
        return {"train": self.train.fingerprint, "test": self.test.fingerprint} == self.spec.fingerprints

    def hold_out(self, count: int) -> "Dataset":
        """This data set with its last ``count`` training images in place of its test images, in the order they have.

        The canonical order is that of digests, so they are a fair sample. Raises DataError if too few are left.
        """
        images, labels = self.train.images, self.train.labels
        if count >= len(labels):
            rest = "and one at least must be left to train on"
            raise DataError(f"data.held_out = {count}: {self.source} has {len(labels)} training images, {rest}")
        parts = [(images[part], labels[part]) for part in (slice(-count), slice(-count, None))]
        train, held_out = (replace(make_split(x, y), images=x, labels=y) for x, y in parts)
        altered = self.spec.fingerprints is not None and not self.genuine
        source = f"{self.source} (NOT the genuine {self.spec.title})" if altered else self.source
        return replace(self, train=train, test=held_out, held_out=count, source=source)


def image_digests(images: Array, labels: Labels) -> Array:
    """``(N, 32)``: SHA-256 of each image's bytes (H × W × C) followed by its label.

    A label is one byte, or two little-endian ones where ``labels`` are uint16.
    """
    digests = bytearray()
    width = 2 if labels.dtype == np.uint16 else 1
    encoded = labels.astype(f"<u{width}").tobytes()
    for number, image in enumerate(np.ascontiguousarray(images)):
        hasher = hashlib.sha256(image.data)
        hasher.update(encoded[number * width : (number + 1) * width])
        digests += hasher.digest()
    return np.frombuffer(bytes(digests), np.uint8).reshape(-1, 32)


def make_split(images: Array, labels: Labels) -> Split:
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
    name: str, train: tuple[Array, Labels], test: tuple[Array, Labels], classes: tuple[str, ...], source: str
) -> Dataset:
    """Check images ``(N, H, W, C)`` and labels ``(N,)`` of both splits and put them into canonical order.

    Raises DataError for empty splits, wrong shapes, and labels or classes that do not fit.
    """
    for split, (images, labels) in (("train", train), ("test", test)):
        _check_images(images, f"{source}: {split}")
        _check_labels(labels, len(images), classes, f"{source}: {split}")
    if train[0].shape[1:] != test[0].shape[1:]:
        shapes = " and ".join("×".join(map(str, images.shape[1:])) for images, _ in (train, test))
        raise DataError(f"{source}: train and test images differ in shape ({shapes})")
    dtype = np.uint8 if len(classes) <= 256 else np.uint16
    train_split, test_split = (make_split(images, labels.astype(dtype)) for images, labels in (train, test))
    mean, std = channel_statistics(train[0])
    return Dataset(name, train_split, test_split, classes, mean, std, source)


def _check_images(images: Array, where: str) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        shape = "×".join(map(str, images.shape))
        raise DataError(f"{where}: images are {shape} {images.dtype}; they must be N×H×W×C uint8, C 1 or 3")
    if images.shape[1] != images.shape[2]:
        raise DataError(f"{where}: images must all be square: they are {images.shape[1]}×{images.shape[2]}")


def _check_labels(labels: Labels, images: int, classes: tuple[str, ...], where: str) -> None:
    if labels.shape != (images,) or images == 0:
        raise DataError(f"{where}: {images} images but {labels.size} labels")
    if len(classes) > 2**16:
        raise DataError(f"{where}: {len(classes)} classes; at most {2**16} are supported")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"{where}: labels must lie in 0..{len(classes) - 1}")
    counts = np.bincount(labels, minlength=len(classes))
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:
        more = f" and {len(missing) - 5} others" if len(missing) > 5 else ""
        raise DataError(f"{where}: no images of class {', '.join(missing[:5])}{more}")


def channel_statistics(images: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per-channel mean and standard deviation on the scale 0..1, rounded to four digits.

    They come from sums of integers: exact, and without a float copy of all images.
    """
    rows = images.reshape(len(images), -1)
    sums = np.zeros((2, rows.shape[1]), np.uint64)
    step = min(2**16, max(1, 2**22 // rows.shape[1]))  # so many squares of bytes fit into 32 bits
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step].astype(np.uint32)
        sums += np.stack([chunk.sum(0, dtype=np.uint32), (chunk * chunk).sum(0, dtype=np.uint32)])
    count = images.size / images.shape[3]
    average, square = sums.reshape(2, -1, images.shape[3]).sum(1) / count
    deviation = np.sqrt(np.maximum(square - average**2, 0))
    return (
        tuple(round(float(value) / 255, 4) for value in average),
        tuple(max(round(float(value) / 255, 4), 1e-4) for value in deviation),
    )
