"""The files that airbench94's script keeps beside itself: train.pt and test.pt."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import PurePosixPath

from airbench.data.catalog import DatasetSpec
from airbench.data.dataset import Array, Labels
from airbench.data.foreign import MAX_FILE, one_line
from airbench.data.layouts.base import Contents, Copy, Layout, check_images, class_labels, named, refuse_two_copies

_FILES = ("train.pt", "test.pt")


def _describe(spec: DatasetSpec) -> str | None:
    return "airbench's train.pt and test.pt" if spec.official else None


def _find(spec: DatasetSpec, names: Sequence[str]) -> list[str]:
    return named(names, _FILES) if spec.official else []


def _read(copy: Copy, names: list[str]) -> Contents:
    assert copy.spec.classes
    refuse_two_copies(copy, {file: set(named(names, [file])) for file in _FILES})
    splits: dict[str, tuple[Array, Labels]] = {}
    for name, content in copy.read(names, MAX_FILE):
        with one_line(f"{copy.path}: {name}", state="not an airbench cache"):
            images, labels = _load(content)
        splits[PurePosixPath(name).stem] = (check_images(copy, images, name), class_labels(copy, labels, name))
    return Contents(splits, copy.spec.classes)


def _load(content: bytes) -> tuple[Array, Labels]:
    import torch

    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # torch would inflate a member to whatever size it has
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
    saved = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    images, labels = saved["images"], saved["labels"]
    if images.nbytes + labels.nbytes > len(content):
        raise ValueError("its tensors are larger than the file")
    return images.numpy(), labels.numpy()


TENSORS = Layout(_describe, _find, _read)
