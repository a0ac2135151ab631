"""Arrays of both splits in one file that ``numpy.savez`` wrote: x_train, y_train, x_test and y_test."""

import io
import math
import zipfile
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from airbench.data.catalog import DatasetSpec
from airbench.data.dataset import Array, Labels
from airbench.data.foreign import MAX_FILE, one_line, read_within
from airbench.data.layouts.base import Contents, Copy, Layout, check_images, class_labels, refuse_two_copies

_KEYS = (
    {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")},
    {"train": ("train_images", "train_labels"), "test": ("test_images", "test_labels")},
)
"""Names of images and labels that people give them."""


def _describe(spec: DatasetSpec) -> str | None:
    return "an .npz with x_train, y_train, x_test and y_test" if spec.official else None


def _find(spec: DatasetSpec, names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if name.endswith(".npz")) if spec.official else []


def _read(copy: Copy, names: list[str]) -> Contents:
    assert copy.spec.classes
    refuse_two_copies(copy, {"npz": set(names)})
    splits: dict[str, tuple[Array, Labels]] = {}
    for name, content in copy.read(names, MAX_FILE):
        with one_line(f"{copy.path}: {name}", state="not an .npz of images"):
            found = _arrays(content, name)
        for split, (images, labels) in found.items():
            if images.ndim == 4 and images.shape[1:] == (copy.spec.channels, copy.spec.side, copy.spec.side):
                images = images.transpose(0, 2, 3, 1)
            if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras has them
                labels = labels[:, 0]
            splits[split] = (check_images(copy, images, name), class_labels(copy, labels, name))
    return Contents(splits, copy.spec.classes)


def _arrays(content: bytes, name: str) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Images and labels by split."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        there = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        keys = next((keys for keys in _KEYS if all(key in there for pair in keys.values() for key in pair)), None)
        if keys is None:
            raise ValueError(f"it has {', '.join(sorted(there)[:6])}, not x_train, y_train, x_test and y_test")

        def array(key: str) -> npt.NDArray[Any]:
            with archive.open(there[key]) as stream:
                return read_npy(read_within(cast(BinaryIO, stream), MAX_FILE, f"{name}: {key}"))

        return {split: (array(images), array(labels)) for split, (images, labels) in keys.items()}


def read_npy(content: bytes) -> npt.NDArray[Any]:
    """The array of integers in an .npy file. Raises ValueError for anything else, before memory is taken for it."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"an array in version {version} of the format")
    shape, fortran, dtype = readers[version](stream)
    if dtype.kind not in "iu":
        raise ValueError(f"an array of {dtype}; only integers are read")
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError("an array that is not whole")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")


NPZ = Layout(_describe, _find, _read)
