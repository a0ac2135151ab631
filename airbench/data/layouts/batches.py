"""The pickles in which CIFAR-10 and CIFAR-100 were published: cifar-10-python.tar.gz and its like."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from airbench.data.catalog import DatasetSpec
from airbench.data.dataset import Array, Labels
from airbench.data.foreign import MAX_FILE, one_line
from airbench.data.layouts.base import Contents, Copy, Layout, Rows, class_labels, named, require_each_once
from airbench.data.pickles import BatchError, load_batch


def _describe(spec: DatasetSpec) -> str | None:
    return f"{spec.official.archive}, {spec.official.folder}/" if spec.official else None


def _find(spec: DatasetSpec, names: Sequence[str]) -> list[str]:
    return named(names, spec.official.train + spec.official.test) if spec.official else []


def _read(copy: Copy, names: list[str]) -> Contents:
    official = copy.spec.official
    assert official
    assert copy.spec.classes
    require_each_once(copy, names, official.train + official.test)
    rows = Rows()
    for name, content in copy.read(names, MAX_FILE):
        split = "train" if PurePosixPath(name).name in official.train else "test"
        with one_line(f"{copy.path}: {name}", state=f"not a batch of {copy.spec.title}"):
            batch = load_batch(content)
            images = _images(batch, copy.spec)
            labels = _labels(batch, official.label_key)
        rows.add(split, images, class_labels(copy, labels, name))
    return Contents(rows.splits(), copy.spec.classes)


def _images(batch: dict[bytes, Any], spec: DatasetSpec) -> Array:
    """Images ``(N, H, W, C)`` from rows of bytes, channel after channel."""
    data = batch.get(b"data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        raise BatchError("it has no array of bytes named data")
    assert spec.side
    assert spec.channels
    return data.reshape(-1, spec.channels, spec.side, spec.side).transpose(0, 2, 3, 1)


def _labels(batch: dict[bytes, Any], key: bytes) -> Labels:
    labels = batch.get(key)
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        return labels
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise BatchError(f"it has no list of integers named {key.decode()}")
    return np.array(labels, np.int64)


BATCHES = Layout(_describe, _find, _read)
