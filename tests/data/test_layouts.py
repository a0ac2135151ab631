"""Every layout gives the same dataset; every damaged copy gives one clear line."""

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from airbench.data.dataset import CIFAR10_CLASSES, Dataset
from airbench.data.layouts import read_local_copy
from airbench.errors import DataError

RNG = np.random.default_rng(0)
TRAIN = (RNG.integers(0, 256, (50, 32, 32, 3), np.uint8), np.arange(50) % 10)
TEST = (RNG.integers(0, 256, (20, 32, 32, 3), np.uint8), np.arange(20) % 10)


def write_batches(folder: Path) -> Path:
    root = folder / "cifar-10-batches-py"
    root.mkdir(parents=True)
    parts = [(f"data_batch_{i + 1}", TRAIN[0][i * 10 : i * 10 + 10], TRAIN[1][i * 10 : i * 10 + 10]) for i in range(5)]
    for name, images, labels in [*parts, ("test_batch", *TEST)]:
        data = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        batch = {b"data": data, b"labels": labels.tolist(), b"batch_label": b"x", b"filenames": [b"y"]}
        (root / name).write_bytes(pickle.dumps(batch, protocol=2))
    (root / "batches.meta").write_bytes(b"not looked at")
    return root


def write_pngs(folder: Path) -> Path:
    root = folder / "pngs"
    for split, (images, labels) in (("train", TRAIN), ("test", TEST)):
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = root / split / CIFAR10_CLASSES[label] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return root


def write_caches(folder: Path) -> Path:
    root = folder / "cifar10"
    root.mkdir(parents=True)
    for split, (images, labels) in (("train", TRAIN), ("test", TEST)):
        saved = {
            "images": torch.from_numpy(images),
            "labels": torch.from_numpy(labels),
            "classes": list(CIFAR10_CLASSES),
        }
        torch.save(saved, root / f"{split}.pt")
    return root


def tarred(folder: Path, source: Path, name: str) -> Path:
    path = folder / name
    with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as archive:
        archive.add(source, arcname=source.name)
    return path


def zipped(folder: Path, source: Path) -> Path:
    path = folder / "copy.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in source.rglob("*.png"):
            archive.write(file, file.relative_to(source.parent))
    return path


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "batches folder": write_batches,
    "folder that holds the batches folder": lambda p: write_batches(p).parent,
    "batches tar.gz": lambda p: tarred(p, write_batches(p), "cifar-10-python.tar.gz"),
    "folder that holds the tar.gz": lambda p: tarred(p, write_batches(p / "x"), "cifar-10-python.tar.gz").parent,
    "png folder": write_pngs,
    "png tar": lambda p: tarred(p, write_pngs(p), "c.tar"),
    "png tgz": lambda p: tarred(p, write_pngs(p), "c.tgz"),
    "png zip": lambda p: zipped(p, write_pngs(p)),
    "airbench caches": write_caches,
    "one of airbench's caches": lambda p: write_caches(p) / "train.pt",
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read_local_copy(write_batches(tmp_path_factory.mktemp("reference")))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_dataset(layout: str, tmp_path: Path, expected: Dataset) -> None:
    dataset = read_local_copy(LAYOUTS[layout](tmp_path))
    for mine, theirs in ((dataset.train, expected.train), (dataset.test, expected.test)):
        assert mine.fingerprint == theirs.fingerprint
        assert np.array_equal(mine.images, theirs.images)
        assert np.array_equal(mine.labels, theirs.labels)
    assert (dataset.mean, dataset.std) == (expected.mean, expected.std)
    assert not dataset.genuine


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_local_copy(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path.name) in message
    return message


def test_nothing_there(tmp_path: Path) -> None:
    assert "no such file" in error_of(tmp_path / "gone.tgz")


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.98])
@pytest.mark.parametrize("name", ["c.tgz", "c.tar"])
def test_truncated_tar(tmp_path: Path, name: str, keep: float) -> None:
    path = tarred(tmp_path, write_pngs(tmp_path), name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    assert "damaged" in error_of(path) or "has no" in error_of(path) or "no images of class" in error_of(path)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.98])
def test_truncated_zip(tmp_path: Path, keep: float) -> None:
    path = zipped(tmp_path, write_pngs(tmp_path))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    assert "damaged" in error_of(path)


def test_zip_with_a_flipped_bit(tmp_path: Path) -> None:
    path = zipped(tmp_path, write_pngs(tmp_path))
    content = bytearray(path.read_bytes())
    content[2000] ^= 0xFF
    path.write_bytes(bytes(content))
    error_of(path)


def test_not_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "cifar.bin"
    path.write_bytes(b"hello" * 100)
    assert "neither a folder nor an archive" in error_of(path)


def test_unknown_layout_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hi")
    assert "cifar-10-batches-py" in error_of(tmp_path)


@pytest.mark.parametrize(
    "evil", ["../train/cat/1.png", "/train/cat/1.png", "train/../../cat/1.png", "C:\\train\\1.png"]
)
def test_paths_that_climb_out_are_refused(tmp_path: Path, evil: str) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(evil, b"x")
    assert "points outside" in error_of(path)
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo(evil), io.BytesIO())
    assert "points outside" in error_of(path)


def test_missing_class(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    for file in (root / "train" / "frog").iterdir():
        file.unlink()
    assert "no images of class frog" in error_of(root)


def test_missing_split_and_missing_batch(tmp_path: Path) -> None:
    root = write_caches(tmp_path)
    (root / "test.pt").unlink()
    assert "no test images" in error_of(root)
    batches = write_batches(tmp_path)
    (batches / "data_batch_3").unlink()
    assert "data_batch_3 is missing" in error_of(batches)


def test_foreign_class_folder(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    (root / "train" / "frog").rename(root / "train" / "toad")
    assert "'toad' is no class" in error_of(root)


@pytest.mark.parametrize("size", [(31, 32), (64, 64)])
def test_image_of_a_wrong_size(tmp_path: Path, size: tuple[int, int]) -> None:
    root = write_pngs(tmp_path)
    Image.new("RGB", size).save(root / "train" / "cat" / "odd.png")
    assert "odd.png" in error_of(root)


def test_grey_image_and_text_named_png(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    Image.new("L", (32, 32)).save(root / "test" / "cat" / "grey.png")
    assert "grey.png is 32×32;" in error_of(root)
    (root / "test" / "cat" / "grey.png").write_text("no picture")
    assert "not a readable PNG" in error_of(root)


def test_batch_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {tmp_path}/ran",)

    root = write_batches(tmp_path)
    (root / "data_batch_1").write_bytes(pickle.dumps({b"data": Evil()}))
    assert "which no CIFAR-10 batch does" in error_of(root)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2]), pickle.dumps({b"data": 3, b"labels": []})])
def test_batch_that_is_none(tmp_path: Path, content: bytes) -> None:
    root = write_batches(tmp_path)
    (root / "data_batch_2").write_bytes(content)
    assert "data_batch_2 is not a batch" in error_of(root)


def test_cache_of_a_wrong_shape_or_kind(tmp_path: Path) -> None:
    root = write_caches(tmp_path)
    torch.save({"images": torch.zeros(5, 3, 32, 32, dtype=torch.uint8), "labels": torch.zeros(5)}, root / "train.pt")
    assert "5×3×32×32" in error_of(root)
    (root / "train.pt").write_bytes(b"junk")
    assert "not an airbench cache" in error_of(root)
    torch.save([1, 2, 3], root / "train.pt")
    assert "not an airbench cache" in error_of(root)
