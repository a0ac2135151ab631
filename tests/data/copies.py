"""Small made-up copies of data sets, in every layout."""

import io
import pickle
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from airbench.data.catalog import OfficialFiles
from airbench.data.dataset import Dataset
from airbench.data.layouts import read_local_copy
from airbench.errors import DataError
from airbench.recipe.data import DATASETS


def read(path: Path, name: str = "cifar10") -> Dataset:
    """Read a local copy of a data set."""
    return read_local_copy(DATASETS[name], path)


def error_of(path: Path, name: str = "cifar10") -> str:
    """Return the one line with which a copy is refused."""
    with pytest.raises(DataError) as caught:
        read(path, name)
    message = str(caught.value)
    assert "\n" not in message
    assert " at 0x" not in message
    assert path.name in message
    return message


@dataclass(frozen=True)
class Sample:
    """Random images of every class of a data set, by split."""

    name: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @property
    def splits(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {"train": self.train, "test": self.test}

    @property
    def classes(self) -> tuple[str, ...]:
        return DATASETS[self.name].classes or ()

    @property
    def official(self) -> OfficialFiles:
        official = DATASETS[self.name].official
        assert official
        return official

    def parts(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Images and labels of each of the official files."""
        found = []
        for files, (images, labels) in ((self.official.train, self.train), (self.official.test, self.test)):
            found += zip(files, np.split(images, len(files)), np.split(labels, len(files)), strict=True)
        return found


def _sample(name: str, train: int, test: int) -> Sample:
    rng = np.random.default_rng(0)
    classes = len(DATASETS[name].classes or ())
    splits = [(rng.integers(0, 256, (n, 32, 32, 3), np.uint8), np.arange(n) % classes) for n in (train, test)]
    return Sample(name, *splits)


CIFAR10 = _sample("cifar10", 50, 20)
CIFAR100 = _sample("cifar100", 200, 100)


def batch_of(sample: Sample, images: np.ndarray, labels: np.ndarray) -> dict[bytes, object]:
    data = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    names = [b"a.png"] * len(images)
    batch = {b"data": data, b"batch_label": b"x", b"filenames": names, b"coarse_labels": [0] * len(images)}
    return {**batch, sample.official.label_key: labels.tolist()}


def write_batches(folder: Path, sample: Sample = CIFAR10, protocol: int = 2) -> Path:
    root = folder / sample.official.folder
    root.mkdir(parents=True)
    for name, images, labels in sample.parts():
        (root / name).write_bytes(pickle.dumps(batch_of(sample, images, labels), protocol=protocol))
    (root / "batches.meta").write_bytes(b"not looked at")
    return root


def write_binary(folder: Path, sample: Sample = CIFAR10) -> Path:
    root = folder / "binary"
    root.mkdir(parents=True)
    for name, images, labels in sample.parts():
        pixels = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        fine = labels[:, None].astype(np.uint8)
        before = [fine] if sample.official.binary_label_bytes == 1 else [np.zeros_like(fine), fine]
        (root / f"{name}.bin").write_bytes(np.concatenate([*before, pixels], axis=1).tobytes())
    return root


def write_npz(folder: Path, sample: Sample = CIFAR10, *, keys: str = "x_train y_train x_test y_test") -> Path:
    """Named as Keras has them, of a shape as Keras has it; or named as others do, channels first."""
    arrays = [*sample.train, *sample.test]
    if keys.startswith("x_"):
        arrays[1::2] = [labels[:, None] for labels in arrays[1::2]]
    else:
        arrays[::2] = [images.transpose(0, 3, 1, 2) for images in arrays[::2]]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "data.npz", **dict(zip(keys.split(), arrays, strict=True)))
    return folder / "data.npz"


def write_parquet(folder: Path, sample: Sample = CIFAR10, image_column: str = "img") -> Path:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    root = folder / "plain_text"
    root.mkdir(parents=True)
    for split, (images, labels) in sample.splits.items():
        rows = [{"bytes": png(image), "path": None} for image in images]
        label = sample.official.label_key.decode()[:-1]
        table = pyarrow.table({image_column: rows, label: labels, "coarse_label": labels // 5})
        parquet.write_table(table, root / f"{split}-00000-of-00001.parquet")
    return root


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def write_images(root: Path, splits: dict, classes: tuple[str, ...], suffix: str = "png") -> Path:
    for split, (images, labels) in splits.items():
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = root / split / classes[label] / f"{i}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return root


def write_pngs(folder: Path, sample: Sample = CIFAR10) -> Path:
    return write_images(folder / "pngs", sample.splits, sample.classes)


def write_tensors(folder: Path, sample: Sample = CIFAR10) -> Path:
    root = folder / sample.name
    root.mkdir(parents=True)
    for split, (images, labels) in sample.splits.items():
        saved = {
            "images": torch.from_numpy(images),
            "labels": torch.from_numpy(labels),
            "classes": list(sample.classes),
        }
        torch.save(saved, root / f"{split}.pt")
    return root


def tarred(folder: Path, source: Path, name: str) -> Path:
    path = folder / name
    mode = {"gz": "w:gz", "z2": "w:bz2"}.get(name[-2:], "w:gz" if name.endswith("tgz") else "w")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(source, arcname=source.name)
    return path


def zipped(folder: Path, source: Path) -> Path:
    path = folder / "copy.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in source.rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(source.parent))
    return path


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for info, content in members:
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
