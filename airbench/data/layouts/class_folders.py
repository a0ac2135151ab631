"""Image files in folders named after their class: train/airplane/1.png, test/airplane/2.png."""

from collections.abc import Sequence
from os.path import splitext

import numpy as np

from airbench.data.catalog import DatasetSpec
from airbench.data.foreign import MAX_IMAGE_FILE
from airbench.data.images import SUFFIXES, ImageDecoder, decoding
from airbench.data.layouts.base import Contents, Copy, Layout, Rows, refuse_two_copies
from airbench.data.layouts.recognised import who_has

_SPLITS = ("train", "test")


def _describe(spec: DatasetSpec) -> str | None:
    return f"class folders train/{spec.classes[0] if spec.classes else 'NAME'}/*.png (a folder, .tar, .tgz or .zip)"


def _find(spec: DatasetSpec, names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if _place(name))


def _place(name: str) -> tuple[str, str, str] | None:
    """Split, the split's folder and the class of an image; None if the file is not an image in a class folder."""
    *above, split, label, file = ("", "", *name.split("/"))
    if split.lower() not in _SPLITS or _suffix(file) not in SUFFIXES:
        return None
    return split.lower(), "/".join([*above, split]).lstrip("/"), label


def _suffix(name: str) -> str:
    return splitext(name)[1].lower()


def _read(copy: Copy, names: list[str]) -> Contents:
    placed = {name: place for name in names if (place := _place(name))}
    refuse_two_copies(copy, {split: {folder for s, folder, _ in placed.values() if s == split} for split in _SPLITS})
    labels, classes = _labels(copy, {label: name for name, (_, _, label) in placed.items()})
    decoder = ImageDecoder(copy.spec, str(copy.path))
    rows = Rows()
    with decoding():
        for name, content in copy.read(names, MAX_IMAGE_FILE):
            split, _, label = placed[name]
            formats = (SUFFIXES[_suffix(name)],)
            pixels = decoder.decode(content, name, formats)
            rows.add(split, pixels[None], np.array([labels[label]]))
    lossy = copy.spec.official and any(SUFFIXES[_suffix(name)] == "JPEG" for name in names)
    return Contents(rows.splits(), classes, "JPEG, which is lossy" if lossy else "")


def _labels(copy: Copy, folders: dict[str, str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The label that each class folder stands for, and the names of all classes.

    ``folders`` has one of its files for each.
    """
    classes = copy.spec.classes or tuple(sorted(folders))
    numbers = {str(label): label for label in range(len(classes))}
    if copy.spec.classes and folders.keys() <= numbers.keys():
        return numbers, classes
    labels = {name: label for label, name in enumerate(classes)}
    for folder, file in folders.items():
        if folder not in labels:
            other = who_has(set(folders))
            remedy = (
                f"this is {other.title}: use data.name={other.name}" if other else "for other images: data.name=folder"
            )
            raise copy.error(f"{file}: '{folder}' is not a class of {copy.spec.title}; {remedy}")
    return labels, classes


CLASS_FOLDERS = Layout(_describe, _find, _read)
