"""Parquet files as the Hugging Face hub keeps them: train-00000-of-00001.parquet, an image file in each row."""

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from airbench.data.catalog import DatasetSpec
from airbench.data.dataset import Array
from airbench.data.foreign import MAX_FILE, MAX_TOTAL, one_line
from airbench.data.images import ImageDecoder, decoding
from airbench.data.layouts.base import Contents, Copy, Layout, Rows, class_labels, refuse_two_copies

_FILE = re.compile(r"(train|test)(-\d+-of-\d+)?(-[0-9a-f]+)?\.parquet")
_IMAGE_COLUMNS = ("img", "image")


def _describe(spec: DatasetSpec) -> str | None:
    return "train-*.parquet and test-*.parquet" if spec.official else None


def _find(spec: DatasetSpec, names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if _split(name)) if spec.official else []


def _split(name: str) -> str | None:
    match = _FILE.fullmatch(PurePosixPath(name).name)
    return match[1] if match else None


def _read(copy: Copy, names: list[str]) -> Contents:
    official = copy.spec.official
    assert official
    assert copy.spec.classes
    places: dict[str, set[str]] = {}
    for name in names:
        places.setdefault(_split(name) or "", set()).add(str(PurePosixPath(name).parent))
    refuse_two_copies(copy, places)
    try:
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise copy.error("parquet files are read by pyarrow, which is not installed: pip install pyarrow") from None
    label_column = official.label_key.decode().removesuffix("s")  # a column holds one label in each row
    decoder = ImageDecoder(copy.spec, str(copy.path))
    rows = Rows()
    with decoding():
        for name, content in copy.read(names, MAX_FILE):
            images: list[Array] = []
            labels: list[int] = []
            with one_line(f"{copy.path}: {name}", state="not a parquet file of images"):
                file = parquet.ParquetFile(pyarrow.BufferReader(content))
                for image, label in _cells(file, label_column):
                    images.append(decoder.decode(image, f"{name}: row {len(images)}", ("PNG",)))
                    labels.append(label)
            if images:
                rows.add(_split(name) or "", np.stack(images), class_labels(copy, np.array(labels), name))
    return Contents(rows.splits(), copy.spec.classes)


def _cells(file: Any, label_column: str) -> Iterator[tuple[bytes, int]]:
    """Image file and label of each row."""
    there = file.schema_arrow.names
    image_column = next((column for column in _IMAGE_COLUMNS if column in there), None)
    if image_column is None or label_column not in there:
        raise ValueError(f"it has the columns {', '.join(there[:6])}, not img and {label_column}")
    size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
    if size > MAX_TOTAL:
        raise ValueError("it unpacks to too many bytes")
    for batch in file.iter_batches(batch_size=1000, columns=[image_column, label_column]):
        images, labels = batch.column(image_column).to_pylist(), batch.column(label_column).to_pylist()
        for image, label in zip(images, labels, strict=True):
            if not isinstance(image, dict) or not isinstance(image.get("bytes"), bytes):
                raise ValueError("a row holds no image file")
            yield image["bytes"], label


PARQUET = Layout(_describe, _find, _read)
