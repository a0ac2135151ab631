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

from airbench.data.dataset import make_dataset
from airbench.data.layouts import known_layouts
from airbench.recipe.data import DATASETS
from tests.data.copies import (
    CIFAR10,
    CIFAR100,
    Sample,
    error_of,
    read,
    tarred,
    write_batches,
    write_binary,
    write_images,
    write_npz,
    write_parquet,
    write_pngs,
    write_tensors,
    zipped,
)

LAYOUTS: dict[str, Callable[[Path, Sample], Path]] = {
    "batches folder": write_batches,
    "batches, pickled anew": lambda p, s: write_batches(p, s, protocol=4),
    "folder that holds the batches folder": lambda p, s: write_batches(p, s).parent,
    "batches tar.gz": lambda p, s: tarred(p, write_batches(p, s), "python.tar.gz"),
    "folder that holds the tar.gz": lambda p, s: tarred(p, write_batches(p / "x", s), s.official.archive).parent / ".",
    "binary folder": write_binary,
    "binary tar.gz": lambda p, s: tarred(p, write_binary(p, s), "binary.tar.gz"),
    "folder that holds it": lambda p, s: tarred(p, write_binary(p / "x", s), s.official.binary_archive).parent,
    "png folder": write_pngs,
    "png folder with numbers for classes": lambda p, s: write_images(p, s.splits, tuple(map(str, range(100)))),
    "png tar": lambda p, s: tarred(p, write_pngs(p, s), "c.tar"),
    "png tgz": lambda p, s: tarred(p, write_pngs(p, s), "c.tgz"),
    "png tar.bz2": lambda p, s: tarred(p, write_pngs(p, s), "c.tar.bz2"),
    "png zip": lambda p, s: zipped(p, write_pngs(p, s)),
    "airbench caches": write_tensors,
    "airbench caches in a tar": lambda p, s: tarred(p, write_tensors(p, s), "c.tar"),
    "one of airbench's caches": lambda p, s: write_tensors(p, s) / "train.pt",
    "npz": write_npz,
    "folder that holds an npz": lambda p, s: write_npz(p, s).parent,
    "npz, named otherwise": lambda p, s: write_npz(p, s, keys="train_images train_labels test_images test_labels"),
    "parquet folder": write_parquet,
    "parquet tar": lambda p, s: tarred(p, write_parquet(p, s, "image"), "c.tar"),
    "one of the parquet files": lambda p, s: write_parquet(p, s) / "test-00000-of-00001.parquet",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sample", [CIFAR10, CIFAR100], ids=lambda sample: sample.name)
def test_every_layout_gives_the_same_dataset(layout: str, sample: Sample, tmp_path: Path) -> None:
    dataset = read(LAYOUTS[layout](tmp_path, sample), sample.name)
    expected = make_dataset(sample.name, sample.train, sample.test, sample.classes, "made here")
    for mine, theirs in ((dataset.train, expected.train), (dataset.test, expected.test)):
        assert mine.fingerprint == theirs.fingerprint
        assert np.array_equal(mine.images, theirs.images)
        assert np.array_equal(mine.labels, theirs.labels)
    assert (dataset.mean, dataset.std, dataset.classes) == (expected.mean, expected.std, sample.classes)
    assert not dataset.genuine


def test_every_data_set_that_is_kept_in_files_names_its_layouts() -> None:
    assert known_layouts(DATASETS["cifar100"]).startswith("cifar-100-python.tar.gz, cifar-100-python/, cifar-100-bin")
    assert known_layouts(DATASETS["folder"]).startswith("class folders train/NAME/*.png")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [7, 28])
def test_a_folder_of_any_images_has_the_classes_and_the_size_that_are_found(
    tmp_path: Path, side: int, channels: int
) -> None:
    rng = np.random.default_rng(0)
    shape = (side, side) if channels == 1 else (side, side, channels)
    splits = {split: (rng.integers(0, 256, (6, *shape), np.uint8), np.arange(6) % 3) for split in ("train", "test")}
    dataset = read(write_images(tmp_path, splits, ("zebra", "ant", "bee")), "folder")
    assert dataset.classes == ("ant", "bee", "zebra")
    assert (dataset.side, dataset.channels) == (side, channels)
    assert dataset.train.images.shape == (6, side, side, channels)
    first_zebra = splits["train"][0][0].reshape(side, side, channels)
    assert any(np.array_equal(image, first_zebra) for image in dataset.train.images[dataset.train.labels == 2])
    pixels = splits["train"][0].reshape(-1, channels) / 255
    assert dataset.mean == pytest.approx(pixels.mean(0), abs=6e-5)
    assert dataset.std == pytest.approx(pixels.std(0), abs=6e-5)
    assert not dataset.genuine


@pytest.mark.parametrize(
    ("mode", "size", "shown"),
    [("L", (28, 30), "28×30 grey"), ("L", (27, 27), "27×27 grey"), ("RGB", (28, 28), "28×28 RGB"),
     ("RGBA", (28, 28), "28×28 RGBA")],
)  # fmt: skip
def test_images_of_a_folder_that_differ_are_named(tmp_path: Path, mode: str, size: tuple[int, int], shown: str) -> None:
    grey = np.zeros((2, 28, 28), np.uint8)
    root = write_images(tmp_path / "own", {"train": (grey, [0, 1]), "test": (grey, [0, 1])}, ("a", "b"))
    Image.new(mode, size).save(root / "train" / "b" / "odd.png")
    assert error_of(root, "folder").endswith(
        f"images must all be square and of one size: train/b/odd.png is {shown}, test/a/0.png is 28×28 grey"
    )


def test_a_folder_whose_first_image_is_not_square(tmp_path: Path) -> None:
    images = np.zeros((1, 28, 30), np.uint8)
    root = write_images(tmp_path / "own", {"train": (images, [0]), "test": (images, [0])}, ("a",))
    assert "test/a/0.png is 30×28 grey, at most 2048×2048, grey or RGB" in error_of(root, "folder")


def test_a_class_that_was_never_trained_on(tmp_path: Path) -> None:
    images = np.zeros((2, 8, 8), np.uint8)
    root = write_images(tmp_path / "own", {"train": (images, [0, 1]), "test": (images, [0, 2])}, ("a", "b", "c"))
    assert "train: no images of class c" in error_of(root, "folder")


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
    root = write_tensors(tmp_path)
    (root / "test.pt").unlink()
    assert "no test images" in error_of(root)
    batches = write_batches(tmp_path)
    (batches / "data_batch_3").unlink()
    assert "data_batch_3 is missing" in error_of(batches)


def test_foreign_class_folder(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    (root / "train" / "frog").rename(root / "train" / "toad")
    assert "'toad' is not a class" in error_of(root)


@pytest.mark.parametrize("size", [(31, 32), (64, 64)])
def test_image_of_a_wrong_size(tmp_path: Path, size: tuple[int, int]) -> None:
    root = write_pngs(tmp_path)
    Image.new("RGB", size).save(root / "train" / "cat" / "odd.png")
    assert "odd.png" in error_of(root)


def test_grey_image_and_text_named_png(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    Image.new("L", (32, 32)).save(root / "test" / "cat" / "grey.png")
    assert "grey.png is 32×32 grey; CIFAR-10 is 32×32 RGB" in error_of(root)
    (root / "test" / "cat" / "grey.png").write_text("no picture")
    assert "not a readable PNG" in error_of(root)


def test_batch_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {tmp_path}/ran",)

    root = write_batches(tmp_path)
    (root / "data_batch_1").write_bytes(pickle.dumps({b"data": Evil()}))
    assert "which no CIFAR batch does" in error_of(root)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2]), pickle.dumps({b"data": 3, b"labels": []})])
def test_batch_that_is_none(tmp_path: Path, content: bytes) -> None:
    root = write_batches(tmp_path)
    (root / "data_batch_2").write_bytes(content)
    assert "data_batch_2: not a batch of CIFAR-10 (" in error_of(root)


def test_cache_of_a_wrong_shape_or_kind(tmp_path: Path) -> None:
    root = write_tensors(tmp_path)
    torch.save({"images": torch.zeros(5, 3, 32, 32, dtype=torch.uint8), "labels": torch.zeros(5)}, root / "train.pt")
    assert "5×3×32×32" in error_of(root)
    (root / "train.pt").write_bytes(b"junk")
    assert "not an airbench cache" in error_of(root)
    torch.save([1, 2, 3], root / "train.pt")
    assert "not an airbench cache" in error_of(root)
