"""What is no copy that can be read is named, and so is what to do instead."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from airbench.data.layouts.npz import read_npy
from airbench.data.sources import genuineness
from tests.data.copies import (
    CIFAR10,
    CIFAR100,
    error_of,
    png,
    read,
    tarred,
    write_batches,
    write_binary,
    write_images,
    write_parquet,
    write_pngs,
)


@pytest.mark.parametrize("write", [write_batches, write_binary])
def test_another_data_set_is_named(tmp_path: Path, write: object) -> None:
    ten, hundred = (write(tmp_path / sample.name, sample) for sample in (CIFAR10, CIFAR100))  # type: ignore[operator]
    assert "this is CIFAR-100, not CIFAR-10: use data.name=cifar100" in error_of(hundred)
    assert "this is CIFAR-10, not CIFAR-100: use data.name=cifar10" in error_of(ten, "cifar100")


def test_class_folders_of_another_data_set_are_named(tmp_path: Path) -> None:
    assert "this is CIFAR-100: use data.name=cifar100" in error_of(write_pngs(tmp_path / "a", CIFAR100))
    assert "this is CIFAR-10: use data.name=cifar10" in error_of(write_pngs(tmp_path / "b"), "cifar100")
    root = write_pngs(tmp_path / "c")
    (root / "train" / "frog").rename(root / "train" / "toad")
    assert "toad' is not a class of CIFAR-10; for other images: data.name=folder" in error_of(root)


def test_both_cifars_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    for sample in (CIFAR10, CIFAR100):
        write_batches(tmp_path, sample)
    assert len(read(tmp_path).train) == 50
    assert len(read(tmp_path, "cifar100").train) == 200


@pytest.mark.parametrize("sample", [CIFAR10, CIFAR100], ids=lambda sample: sample.name)
def test_jpegs_are_read_and_called_lossy(tmp_path: Path, sample: object) -> None:
    splits = {split: (images[:100], labels[:100]) for split, (images, labels) in sample.splits.items()}  # type: ignore[attr-defined]
    dataset = read(write_images(tmp_path / "own", splits, sample.classes, "jpg"), sample.name)  # type: ignore[attr-defined]
    assert not dataset.genuine
    assert "own (JPEG, which is lossy)" in genuineness(dataset)


def test_jpegs_of_ones_own_are_nobodys_copies(tmp_path: Path) -> None:
    splits = {split: (images[..., 0], labels) for split, (images, labels) in CIFAR10.splits.items()}
    dataset = read(write_images(tmp_path, splits, CIFAR10.classes, "jpeg"), "folder")
    assert dataset.channels == 1
    assert "lossy" not in genuineness(dataset)


def test_kaggles_competition_is_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "1.png").write_bytes(png(CIFAR10.train[0][0]))
    assert "do not lie in class folders in train/ and test/" in error_of(tmp_path)
    (tmp_path / "trainLabels.csv").write_text("id,label\n1,frog\n")
    assert "Kaggle's competition, whose test images have no labels" in error_of(tmp_path)
    assert "Kaggle's competition" in error_of(tarred(tmp_path / "..", tmp_path, "kaggle.tar"))


def test_class_folders_without_splits_are_named(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(png(CIFAR10.train[0][0]))
    assert "do not lie in class folders in train/ and test/" in error_of(tmp_path, "folder")


# ------------------------------------------------------------------ damaged copies in the newer layouts


def test_a_binary_file_cut_short_or_with_a_wrong_label(tmp_path: Path) -> None:
    root = write_binary(tmp_path)
    file = root / "data_batch_4.bin"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    assert "data_batch_4.bin: 30,729 bytes is not a whole number of 3,073-byte images" in error_of(root)
    file.write_bytes(b"\x0a" + content[1:])
    assert "data_batch_4.bin: labels must lie in 0..9" in error_of(root)
    file.unlink()
    assert "data_batch_4.bin is missing" in error_of(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((5, 28, 28), np.uint8)}, "images are 5×28×28 uint8; they must be N×32×32×3 uint8"),
        ({"x_train": np.zeros((5, 32, 32, 3), np.float32)}, "an array of float32; only integers"),
        ({"x_train": np.zeros((5, 32, 32, 3), np.int64)}, "int64; they must be"),
        ({"y_test": np.full(20, 10)}, "labels must lie in 0..9"),
        ({"y_test": np.array([object()])}, "an array of object; only integers"),
        ({"y_test": np.zeros((20, 10), np.uint8)}, "labels"),
    ],
)
def test_an_npz_of_other_arrays(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), (*CIFAR10.train, *CIFAR10.test), strict=True))
    np.savez(tmp_path / "data.npz", **{**arrays, **change})  # type: ignore[arg-type]
    assert message in error_of(tmp_path / "data.npz")


def test_an_npz_of_other_names_says_which_it_has(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=np.zeros(3), labels=np.zeros(3))
    assert "not an .npz of images (it has images, labels, not x_train" in error_of(tmp_path / "data.npz")


def test_an_array_whose_header_promises_terabytes_takes_no_memory() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (2**45,)})
    with pytest.raises(ValueError, match="not whole"):
        read_npy(stream.getvalue() + b"x")


def test_parquet_without_pyarrow_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}-00000-of-00001.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install pyarrow" in error_of(tmp_path)


def test_damaged_parquet_files(tmp_path: Path) -> None:
    root = write_parquet(tmp_path)
    file = root / "test-00000-of-00001.parquet"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert "test-00000-of-00001.parquet: not a parquet file of images" in error_of(root)
    file.write_bytes(content)
    assert "it has the columns img, label, coarse_label, not img and fine_label" in error_of(root, "cifar100")
