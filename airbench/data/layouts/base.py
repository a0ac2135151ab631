"""What the readers of all layouts have in common."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from airbench.data.catalog import DatasetSpec
from airbench.data.dataset import Array, Labels
from airbench.data.entries import Entries
from airbench.data.foreign import MAX_TOTAL, MIB, one_line
from airbench.errors import DataError

Progress = Callable[[int, int], None]
"""Called with files read so far and files in all."""

ANOTHER_COPY = "copy or download it again, or name another copy with --data or AIRBENCH_DATA"


@dataclass(frozen=True)
class Copy:
    """A copy of a data set that is being read."""

    path: Path
    spec: DatasetSpec
    entries: Entries
    progress: Progress

    def read(self, names: Sequence[str], limit: int) -> Iterator[tuple[str, bytes]]:
        """Path and content of the named files, each of at most ``limit`` bytes, while progress is reported."""
        done = total = 0
        reading = self.entries.read(names, limit)
        while True:
            with one_line(str(self.path), remedy=ANOTHER_COPY):
                item = next(reading, None)
            if item is None:
                return
            done, total = done + 1, total + len(item[1])
            if total > MAX_TOTAL:
                raise self.error(f"more than {MAX_TOTAL // (1024 * MIB)} GiB in all, which is too much to read")
            yield item
            if done % 500 == 0 or done == len(names):
                self.progress(done, len(names))

    def error(self, what: str) -> DataError:
        """A DataError about this copy."""
        return DataError(f"{self.path}: {what}")


@dataclass(frozen=True)
class Contents:
    """What was read: images ``(N, H, W, C)`` and labels ``(N,)`` by split, ``train`` and ``test``."""

    splits: Mapping[str, tuple[Array, Labels]]
    classes: tuple[str, ...]
    note: str = ""
    """What people should know about this copy."""


@dataclass(frozen=True)
class Layout:
    """A form in which people keep data sets."""

    describe: Callable[[DatasetSpec], str | None]
    """What a copy of the data set looks like in this layout; None if there is none."""
    find: Callable[[DatasetSpec, Sequence[str]], list[str]]
    """Those of a copy's files that belong to this layout; empty if it is not in this layout."""
    read: Callable[[Copy, list[str]], Contents]
    """Read the files that were found. Raises DataError."""


class Rows:
    """Images and labels of both splits, gathered file by file."""

    def __init__(self) -> None:
        self.images: dict[str, list[Array]] = {}
        self.labels: dict[str, list[Labels]] = {}

    def add(self, split: str, images: Array, labels: Labels) -> None:
        """Append images ``(N, H, W, C)`` and labels ``(N,)``."""
        self.images.setdefault(split, []).append(images)
        self.labels.setdefault(split, []).append(labels)

    def splits(self) -> dict[str, tuple[Array, Labels]]:
        """All images and labels by split."""
        return {
            split: (np.concatenate(self.images[split]), np.concatenate(self.labels[split])) for split in self.images
        }


def named(names: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """Those paths whose last part is in ``wanted``."""
    return sorted(name for name in names if PurePosixPath(name).name in wanted)


def refuse_two_copies(copy: Copy, places: Mapping[str, set[str]]) -> None:
    """Raise DataError if a part of the data set was found at two places: nobody means the sum of two copies."""
    for found in places.values():
        if len(found) > 1:
            first, second = sorted(found)[:2]
            raise copy.error(f"holds two copies, {first} and {second}; name one of them")


def require_each_once(copy: Copy, names: Sequence[str], parts: Sequence[str]) -> None:
    """Raise DataError unless each of the files ``parts`` is among ``names`` exactly once."""
    places = {part: set(named(names, [part])) for part in parts}
    missing = [part for part, found in places.items() if not found]
    if missing:
        raise copy.error(f"incomplete: {', '.join(missing)} is missing")
    refuse_two_copies(copy, places)


def check_images(copy: Copy, images: npt.NDArray[Any], name: str) -> Array:
    """``images`` as they are. Raises DataError if they are not ``(N, H, W, C)`` uint8 of the data set's size."""
    expected = (copy.spec.side, copy.spec.side, copy.spec.channels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
        shape, right = ("×".join(map(str, sizes)) for sizes in (images.shape, expected))
        raise copy.error(f"{name}: images are {shape} {images.dtype}; they must be N×{right} uint8")
    return images


def class_labels(copy: Copy, labels: npt.NDArray[Any], name: str) -> Labels:
    """``labels`` ``(N,)`` as int64. Raises DataError if one of them is not a class of the data set."""
    classes = len(copy.spec.classes or ())
    if labels.dtype.kind not in "iu":
        raise copy.error(f"{name}: labels are {labels.dtype}; they must be integers")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise copy.error(f"{name}: labels must lie in 0..{classes - 1}")
    return labels.astype(np.int64)
