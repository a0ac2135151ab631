"""Reading a data set out of the forms in which people keep it, one module a layout.

A reader knows the specification of a data set, not its name, and sees files by path inside a folder or an
archive; so each layout is understood for every data set, and in folders and archives alike.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from airbench.data.catalog import DatasetSpec
from airbench.data.dataset import Dataset, make_dataset
from airbench.data.entries import Entries, open_entries
from airbench.data.foreign import one_line
from airbench.data.layouts.base import ANOTHER_COPY, Contents, Copy, Layout, Progress, named
from airbench.data.layouts.batches import BATCHES
from airbench.data.layouts.binary import BINARY
from airbench.data.layouts.class_folders import CLASS_FOLDERS
from airbench.data.layouts.npz import NPZ
from airbench.data.layouts.parquet import PARQUET
from airbench.data.layouts.recognised import instead
from airbench.data.layouts.tensors import TENSORS
from airbench.errors import DataError

LAYOUTS: tuple[Layout, ...] = (BATCHES, BINARY, CLASS_FOLDERS, TENSORS, NPZ, PARQUET)
"""In the order in which they are looked for."""


def known_layouts(spec: DatasetSpec) -> str:
    """The layouts in which a copy of the data set may be kept, in words."""
    described = [text for layout in LAYOUTS if (text := layout.describe(spec))]
    return ", ".join(described[:-1]) + f", or {described[-1]}" if len(described) > 1 else described[0]


def read_local_copy(spec: DatasetSpec, path: Path, progress: Progress = lambda done, total: None) -> Dataset:
    """Read the copy of a data set at ``path``, recognising its layout by itself.

    Raises DataError in one line for a path that does not exist, an archive that is damaged or that has paths
    climbing out of it, an unknown layout, missing classes, images of a wrong shape.
    """
    with one_line(str(path), remedy=ANOTHER_COPY):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder; give a copy of {spec.title} ({known_layouts(spec)})")
        entries = open_entries(path)
        names = entries.names()
    in_layout = [(layout, found) for layout in LAYOUTS if (found := layout.find(spec, names))]
    if in_layout:
        first, *others = (partial(_read, spec, path, entries, progress, *pair) for pair in in_layout)
        dataset = first()
        _refuse_other_images(path, dataset, others, [found[0] for _, found in in_layout])
        return dataset
    inner = _archive_inside(spec, path, names)
    if inner:
        return read_local_copy(spec, path / inner, progress)
    unknown = f"holds no {spec.title} in a layout that is known here: {known_layouts(spec)}"
    raise DataError(f"{path}: {instead(spec, names) or unknown}")


def _read(
    spec: DatasetSpec, path: Path, entries: Entries, progress: Progress, layout: Layout, found: list[str]
) -> Dataset:
    return _dataset(spec, path, layout.read(Copy(path, spec, entries, progress), found))


def _refuse_other_images(
    path: Path, dataset: Dataset, others: Sequence[Callable[[], Dataset]], files: Sequence[str]
) -> None:
    """Raise DataError if what lies there in another layout are other images: nobody said which of them are meant.

    The same images in two layouts do no harm, and an incomplete data set does not count.
    """
    for read, file in zip(others, files[1:], strict=True):
        try:
            other = read()
        except DataError:
            continue
        if (other.train.fingerprint, other.test.fingerprint) != (dataset.train.fingerprint, dataset.test.fingerprint):
            raise DataError(f"{path}: holds two copies that differ, {files[0]} … and {file} …; name one of them")


def _dataset(spec: DatasetSpec, path: Path, contents: Contents) -> Dataset:
    for split in ("train", "test"):
        if split not in contents.splits:
            raise DataError(f"{path}: has no {split} images")
    source = f"{path} ({contents.note})" if contents.note else str(path)
    return make_dataset(spec.name, contents.splits["train"], contents.splits["test"], contents.classes, source)


def _archive_inside(spec: DatasetSpec, path: Path, names: Sequence[str]) -> str | None:
    """An official archive, if it lies in the folder ``path`` still packed."""
    for archive in (spec.official.archive, spec.official.binary_archive) if spec.official and path.is_dir() else ():
        inside = named(names, [archive])
        if len(inside) > 1:
            raise DataError(f"{path}: holds two copies, {inside[0]} and {inside[1]}; name one of them")
        if inside:
            return inside[0]
    return None
