"""What is read of a folder or an archive: links are followed, litter is skipped, two copies are refused."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from airbench.data.foreign import is_litter, why
from tests.data.copies import (
    CIFAR10,
    error_of,
    read,
    tarred,
    write_batches,
    write_images,
    write_pngs,
    write_tensors,
    zipped,
)

# ------------------------------------------------------------------ two copies


@pytest.mark.parametrize("write", [write_pngs, write_batches, write_tensors])
def test_two_copies_below_one_path_are_both_named_and_refused(tmp_path: Path, write: object) -> None:
    for side in ("a", "b"):
        write(tmp_path / side)  # type: ignore[operator]
    message = error_of(tmp_path)
    assert "holds two copies, a/" in message
    assert " and b/" in message


def test_two_packed_copies_are_refused(tmp_path: Path) -> None:
    archive = tarred(tmp_path, write_batches(tmp_path / "x"), "cifar-10-python.tar.gz")
    for side in ("a", "b"):
        (tmp_path / "copies" / side).mkdir(parents=True)
        shutil.copy(archive, tmp_path / "copies" / side)
    assert "holds two copies, a/cifar-10-python.tar.gz and b/cifar" in error_of(tmp_path / "copies")


def test_a_copy_beside_its_own_archive_is_read(tmp_path: Path) -> None:
    tarred(tmp_path, write_batches(tmp_path), "cifar-10-python.tar.gz")
    assert len(read(tmp_path).train) == 50


@pytest.mark.parametrize("name", ["copy.tar", "copy.zip"])
def test_an_entry_that_occurs_twice_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("tar"):
        with tarfile.open(path, "w") as archive:
            for _ in range(2):
                archive.addfile(tarfile.TarInfo("train/cat/1.png"), io.BytesIO())
    else:
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("train/cat/1.png", b"")
            with pytest.warns(UserWarning, match="Duplicate"):
                packed.writestr("train/cat/1.png", b"")
    assert "'train/cat/1.png' occurs twice" in error_of(path)


# ------------------------------------------------------------------ links and litter


@pytest.mark.parametrize("linked", ["train", "test", "train/cat", "."])
def test_linked_folders_are_followed(tmp_path: Path, linked: str) -> None:
    root = write_pngs(tmp_path)
    (root / linked).resolve().rename(tmp_path / "elsewhere")
    (root / linked).symlink_to(tmp_path / "elsewhere")
    assert len(read(root).train) == 50


def test_a_linked_batches_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(write_batches(tmp_path / "elsewhere"))
    assert len(read(tmp_path / "data").train) == 50


def test_a_loop_of_links_is_named(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    (root / "train" / "again").symlink_to(root)
    assert "train/again is linked to a folder that it lies in" in error_of(root)


def test_a_link_to_nothing_that_nobody_needs_does_no_harm(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    (root / "notes.txt").symlink_to("gone")
    assert len(read(root).train) == 50
    (root / "train" / "cat" / "new.png").symlink_to("gone")
    assert "No such file" in error_of(root)


LITTER = (
    "__MACOSX/train/cat/._0.png", "train/cat/._0.png", "train/cat/.DS_Store", ".cache/train/cat/0.png",
    "train/.ipynb_checkpoints/0.png", "train/cat/Thumbs.db", "train/cat/desktop.ini", "test/.hidden/0.png",
)  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "tar", "zip"])
@pytest.mark.parametrize("name", ["cifar10", "folder"])
def test_litter_is_skipped(tmp_path: Path, form: str, name: str) -> None:
    root = write_pngs(tmp_path)
    for file in LITTER:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"litter")
    path = {
        "folder": lambda: root,
        "tar": lambda: tarred(tmp_path, root, "c.tar"),
        "zip": lambda: zipped(tmp_path, root),
    }
    dataset = read(path[form](), name)
    assert (len(dataset.train), len(dataset.classes)) == (50, 10)


def test_what_is_litter() -> None:
    assert all(is_litter(name) for name in LITTER)
    assert not any(is_litter(name) for name in ("train/cat/a.b.png", "thumbs/1.png", "x__MACOSX/1.png"))


def test_reasons_show_no_addresses() -> None:
    assert why(ValueError("cannot identify <_io.BytesIO object at 0x7f00> at\nall")) == "cannot identify at all"
    assert why(ValueError()) == "ValueError"


def test_two_copies_in_different_layouts_must_be_of_the_same_images(tmp_path: Path) -> None:
    """As where another program kept its own copy beside the official one."""
    root = write_batches(tmp_path)
    sample = CIFAR10
    write_images(root, sample.splits, sample.classes)
    assert len(read(root).train) == len(sample.splits["train"][1])
    image = next((root / "train" / "cat").iterdir())
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(image)
    assert "holds two copies that differ" in error_of(root)
    shutil.rmtree(root / "test")  # what is no whole data set does not count
    assert len(read(root).train) == len(sample.splits["train"][1])
