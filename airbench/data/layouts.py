"""Reading CIFAR-10 out of the forms in which people keep it.

Every reader works on an :class:`Entries`, files by their path inside a folder or an archive, so each layout is
understood in a folder and in an archive alike, and nothing is ever extracted to disk.
"""

import codecs
import io
import lzma
import pickle
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from airbench.data.dataset import CIFAR10_CLASSES, Array, Dataset, make_dataset
from airbench.errors import DataError

Progress = Callable[[int, int], None]
"""Called with files read so far and files in all."""

LAYOUTS = (
    "cifar-10-python.tar.gz, cifar-10-batches-py/, class folders train/airplane/*.png (a folder, .tar, .tgz "
    "or .zip), or airbench's train.pt and test.pt"
)
_BATCH = re.compile(r"(?:^|/)(data_batch_[1-5]|test_batch)$")
_PNG = re.compile(r"(?:^|/)(train|test)/([^/]+)/[^/]+\.png$", re.IGNORECASE)
_CACHE = re.compile(r"(?:^|/)(train|test)\.pt$")
_NO_CACHE = (RuntimeError, TypeError, AttributeError, EOFError, ValueError)
_DAMAGED = (
    EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError,
    RuntimeError, NotImplementedError,  # a zip that is encrypted, or compressed in a way that is not known here
)  # fmt: skip


class Entries(Protocol):
    """Files by path, with ``/`` between the parts."""

    def names(self) -> list[str]:
        """Paths of all files."""

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Path and content of the named files, in whatever order is cheapest."""


class _Folder:
    def __init__(self, root: Path):
        self.root = root

    def names(self) -> list[str]:
        return [p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if p.is_file()]

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, (self.root / name).read_bytes()


class _Tar:
    """A tar archive, held open: a compressed one is unpacked in memory once, as it can't be read out of order."""

    def __init__(self, path: Path):
        with tarfile.open(path) as archive:
            self.files = {
                member.name.removeprefix("./"): archive.extractfile(member).read()  # type: ignore[union-attr]
                for member in archive
                if member.isfile()
            }

    def names(self) -> list[str]:
        return list(self.files)

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, self.files[name]


class _Zip:
    def __init__(self, path: Path):
        self.archive = zipfile.ZipFile(path)

    def names(self) -> list[str]:
        return [info.filename for info in self.archive.infolist() if not info.is_dir()]

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, self.archive.read(name)


def read_local_copy(path: Path, progress: Progress = lambda done, total: None) -> Dataset:
    """Read the copy of CIFAR-10 at ``path``, recognising its layout by itself.

    Raises DataError in one line for a path that does not exist, an archive that is damaged or that has paths
    climbing out of it, an unknown layout, missing classes, images of a wrong shape.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; give a copy of CIFAR-10 ({LAYOUTS})")
    if path.suffix == ".pt":
        path = path.parent  # the other of train.pt and test.pt lies beside it
    with _one_line(path):
        entries = _open(path)
        names = entries.names()
        _refuse_climbing(path, names)
        readers: list[tuple[re.Pattern[str], Callable[..., Dataset]]] = [
            (_BATCH, _read_batches), (_PNG, _read_class_folders), (_CACHE, _read_airbench_cache),
        ]  # fmt: skip
        for pattern, reader in readers:
            found = sorted(name for name in names if pattern.search(name))
            if found:
                return reader(path, entries, found, progress)
    inside = [name for name in names if name.endswith("cifar-10-python.tar.gz")]
    if inside and path.is_dir():
        return read_local_copy(path / inside[0], progress)
    raise DataError(f"{path}: holds no CIFAR-10 in a layout that is known here: {LAYOUTS}")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        what = reason.splitlines()[0].rstrip(":") if reason else "cut short"
        raise DataError(
            f"{path}: damaged or incomplete ({what}); copy or download it again, or name another copy with "
            "--data or AIRBENCH_DATA"
        ) from None


def _open(path: Path) -> Entries:
    if path.is_dir():
        return _Folder(path)
    if zipfile.is_zipfile(path) or path.suffix == ".zip":
        return _Zip(path)
    if path.name.endswith((".tar", ".tgz", ".tar.gz")) or tarfile.is_tarfile(path):
        return _Tar(path)
    raise DataError(f"{path}: neither a folder nor an archive; give a copy of CIFAR-10 ({LAYOUTS})")


def _refuse_climbing(path: Path, names: Sequence[str]) -> None:
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or re.match(r"[A-Za-z]:", name):
            raise DataError(f"{path}: refused: its entry '{name}' points outside the archive")


def _stack(rows: dict[str, tuple[list[Array], list[int]]]) -> dict[str, tuple[Array, Array]]:
    return {
        split: (np.concatenate(images), np.asarray(labels, np.uint8))
        for split, (images, labels) in rows.items()
        if images
    }


def _both(path: Path, splits: dict[str, tuple[Array, Array]]) -> Dataset:
    for split in ("train", "test"):
        if split not in splits:
            raise DataError(f"{path}: has no {split} images")
    return make_dataset("cifar10", splits["train"], splits["test"], CIFAR10_CLASSES, str(path))


# ------------------------------------------------------------------ cifar-10-python, the official layout


class _OnlyArrays(pickle.Unpickler):
    """Unpickles arrays and plain containers, and refuses everything that could run code."""

    ALLOWED: dict[tuple[str, str], Any] = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): codecs.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ALLOWED[(module, name)]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR-10 batch does") from None


def _read_batches(path: Path, entries: Entries, names: list[str], progress: Progress) -> Dataset:
    rows: dict[str, tuple[list[Array], list[int]]] = {"train": ([], []), "test": ([], [])}
    stems = {PurePosixPath(name).name for name in names}
    missing = {f"data_batch_{i}" for i in range(1, 6)} | {"test_batch"}
    missing -= stems
    if missing:
        raise DataError(f"{path}: incomplete: {', '.join(sorted(missing))} is missing")
    for done, (name, content) in enumerate(entries.read(names)):
        try:
            batch = _OnlyArrays(io.BytesIO(content), encoding="bytes").load()
            data, labels = np.asarray(batch[b"data"]), [int(label) for label in batch[b"labels"]]
            images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        except (
            pickle.UnpicklingError,
            EOFError,
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            IndexError,
        ) as error:
            raise DataError(f"{path}: {name} is not a batch of CIFAR-10 ({error})") from None
        split = "test" if name.endswith("test_batch") else "train"
        if not all(0 <= label < len(CIFAR10_CLASSES) for label in labels):
            raise DataError(f"{path}: {name}: labels must lie in 0..{len(CIFAR10_CLASSES) - 1}")
        rows[split][0].append(images)
        rows[split][1].extend(labels)
        progress(done + 1, len(names))
    return _both(path, _stack(rows))


# ------------------------------------------------------------------ class folders of PNG files


def _read_class_folders(path: Path, entries: Entries, names: list[str], progress: Progress) -> Dataset:
    rows: dict[str, tuple[list[Array], list[int]]] = {"train": ([], []), "test": ([], [])}
    for done, (name, content) in enumerate(entries.read(names)):
        match = _PNG.search(name)
        assert match
        split, label = match[1].lower(), match[2]
        if label not in CIFAR10_CLASSES:
            raise DataError(f"{path}: {name}: '{label}' is no class of CIFAR-10 ({', '.join(CIFAR10_CLASSES)})")
        try:
            with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                pixels = np.asarray(image)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path}: {name} is not a readable PNG ({error})") from None
        if pixels.shape != (32, 32, 3):
            raise DataError(f"{path}: {name} is {'×'.join(map(str, pixels.shape))}; CIFAR-10 is 32×32×3")
        rows[split][0].append(pixels[None])
        rows[split][1].append(CIFAR10_CLASSES.index(label))
        if done % 500 == 499 or done + 1 == len(names):
            progress(done + 1, len(names))
    return _both(path, _stack(rows))


# ------------------------------------------------------------------ airbench's own train.pt and test.pt


def _read_airbench_cache(path: Path, entries: Entries, names: list[str], progress: Progress) -> Dataset:
    import torch

    splits: dict[str, tuple[Array, Array]] = {}
    for done, (name, content) in enumerate(entries.read(names)):
        try:
            saved = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
            images, labels = saved["images"].numpy(), saved["labels"].numpy()
        except (pickle.UnpicklingError, struct.error, LookupError, *_NO_CACHE) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DataError(f"{path}: {name} is not an airbench cache ({reason})") from None
        if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3):
            shape = "×".join(map(str, images.shape))
            raise DataError(f"{path}: {name}: images are {shape} {images.dtype}; they must be N×32×32×3 uint8")
        if labels.size and not (labels.min() >= 0 and labels.max() < len(CIFAR10_CLASSES)):
            raise DataError(f"{path}: {name}: labels must lie in 0..{len(CIFAR10_CLASSES) - 1}")
        splits[name.rpartition("/")[2].removesuffix(".pt")] = (images, labels.astype(np.uint8))
        progress(done + 1, len(names))
    return _both(path, splits)
