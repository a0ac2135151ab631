"""The binary layout in which CIFAR-10 and CIFAR-100 were published for C: data_batch_1.bin and its like.

An image is one record: its label, in CIFAR-100 the coarse one before it, then its pixels channel after channel.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from airbench.data.catalog import DatasetSpec, OfficialFiles
from airbench.data.foreign import MAX_FILE
from airbench.data.layouts.base import Contents, Copy, Layout, Rows, class_labels, named, require_each_once


def _describe(spec: DatasetSpec) -> str | None:
    return spec.official.binary_archive if spec.official else None


def _names(official: OfficialFiles) -> dict[str, str]:
    """Split by file name."""
    parts = {**dict.fromkeys(official.train, "train"), **dict.fromkeys(official.test, "test")}
    return {f"{part}.bin": split for part, split in parts.items()}


def _find(spec: DatasetSpec, names: Sequence[str]) -> list[str]:
    return named(names, list(_names(spec.official))) if spec.official else []


def _read(copy: Copy, names: list[str]) -> Contents:
    spec, official = copy.spec, copy.spec.official
    assert official
    assert spec.classes
    assert spec.side
    assert spec.channels
    splits = _names(official)
    require_each_once(copy, names, list(splits))
    rows = Rows()
    before, pixels = official.binary_label_bytes, spec.channels * spec.side**2
    for name, content in copy.read(names, MAX_FILE):
        if not content or len(content) % (before + pixels):
            raise copy.error(f"{name}: {len(content):,} bytes is not a whole number of {before + pixels:,}-byte images")
        records = np.frombuffer(content, np.uint8).reshape(-1, before + pixels)
        images = records[:, before:].reshape(-1, spec.channels, spec.side, spec.side).transpose(0, 2, 3, 1)
        rows.add(splits[PurePosixPath(name).name], images, class_labels(copy, records[:, before - 1], name))
    return Contents(rows.splits(), spec.classes)


BINARY = Layout(_describe, _find, _read)
