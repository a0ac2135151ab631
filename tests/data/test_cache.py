"""A cache is used only for the files that it was made from, and only if it holds what was written."""

import io
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from airbench.cli import main
from airbench.data import sources
from airbench.data.cache import cache_file, cache_folder, read_cache, warn, write_cache
from airbench.data.dataset import Dataset, make_dataset
from airbench.errors import DataError
from airbench.recipe.data import DATASETS, Data
from tests.data.copies import CIFAR100, write_batches, write_images, write_pngs


def tiny() -> Dataset:
    images, labels = np.arange(96, dtype=np.uint8).reshape(8, 2, 2, 3), np.arange(8) % 2
    return make_dataset("folder", (images, labels), (images, labels), ("a", "b"), "somewhere")


def rewritten(file: Path, **changes: np.ndarray) -> None:
    """Change arrays in a cache, and leave all that it says about itself."""
    with np.load(file) as saved:
        arrays = {**saved, **changes}
    with open(file, "wb") as stream:
        np.savez(stream, **arrays)


# ------------------------------------------------------------------ what a cache was made from


def test_one_of_many_files_overwritten_in_place_is_noticed(tmp_path: Path) -> None:
    pixels = np.zeros((1100, 2, 2), np.uint8)
    splits = {"train": (pixels, np.arange(1100) % 2), "test": (pixels[:2], np.arange(2))}
    root = write_images(tmp_path, splits, ("a", "b"))
    data = Data(name="folder", path=str(root))
    first = sources.load_dataset(data)
    file = root / "train" / "a" / "500.png"
    before = file.stat()
    Image.fromarray(np.full((2, 2), 9, np.uint8)).save(tmp_path / "new.png")
    content = (tmp_path / "new.png").read_bytes()
    (tmp_path / "new.png").unlink()
    with open(file, "r+b") as stream:
        stream.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = sources.load_dataset(data)
    assert first.train.fingerprint != second.train.fingerprint
    assert second.train.images.max() == 9


def test_litter_does_not_make_a_copy_another_one(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    before = cache_file("cifar10", root)
    (root / "train" / "cat" / ".DS_Store").write_text("x")
    assert cache_file("cifar10", root) == before
    (root / "train" / "cat" / "new.png").write_text("x")
    assert cache_file("cifar10", root) != before


def test_a_copy_among_files_that_change_has_one_cache(tmp_path: Path, own_cache: Path) -> None:
    root, dataset = write_pngs(tmp_path), tiny()
    other = cache_file("cifar10", tmp_path)
    assert other is not None
    write_cache(dataset, other)
    for name in ("a.png", "b.png"):
        file = cache_file("cifar10", root)
        assert file is not None
        assert write_cache(dataset, file)
        (root / "train" / "cat" / name).write_text("x")
    assert set(own_cache.iterdir()) == {file, other}


def test_a_linked_file_that_changes_where_it_lies_is_noticed(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    shutil.move(root / "train", tmp_path / "elsewhere")
    (root / "train").symlink_to(tmp_path / "elsewhere")
    before = cache_file("cifar10", root)
    (tmp_path / "elsewhere" / "cat" / "3.png").write_bytes(b"")
    assert cache_file("cifar10", root) != before


# ------------------------------------------------------------------ what a cache holds


def test_other_images_under_the_fingerprints_of_these_are_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, dataset = tmp_path / "c.npz", tiny()
    write_cache(dataset, file)
    rewritten(file, train_images=dataset.train.images ^ 1)
    assert read_cache(file) is None
    warning = capsys.readouterr().err
    assert warning == (
        f"airbench: {file}: this cache is not used (its images are not those that were written); "
        "the images will be decoded again\n"
    )


def test_images_in_another_order_come_back_in_the_canonical_one(tmp_path: Path) -> None:
    file, dataset = tmp_path / "c.npz", tiny()
    write_cache(dataset, file)
    rewritten(file, train_images=dataset.train.images[::-1], train_labels=dataset.train.labels[::-1])
    again = read_cache(file)
    assert again is not None
    assert np.array_equal(again.train.images, dataset.train.images)


def test_a_cache_of_another_data_set_is_not_used(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    sources.load_dataset(Data(name="folder", path=str(root)))
    folder, named = (cache_file(name, root) for name in ("folder", "cifar10"))
    assert folder
    assert named
    folder.rename(named)
    assert sources.load_dataset(Data(path=str(root))).name == "cifar10"


@pytest.fixture(scope="module")
def whole_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("cache") / "c.npz"
    write_cache(tiny(), file)
    return file


@given(data=st.data())
def test_any_flipped_bytes_give_the_same_images_or_none(whole_cache: Path, data: st.DataObject) -> None:
    content = bytearray(whole_cache.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] ^= data.draw(st.integers(1, 255))
    damaged = whole_cache.with_name("damaged.npz")
    damaged.write_bytes(content)
    read = read_cache(damaged)
    assert read is None or read.train.fingerprint == tiny().train.fingerprint


# ------------------------------------------------------------------ whose cache it is


@pytest.mark.skipif(os.name != "posix", reason="there are no modes on this system")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_others_may_read_a_cache_as_far_as_the_umask_lets_them(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_cache(tiny(), tmp_path / "c.npz")
    finally:
        os.umask(before)
    assert (tmp_path / "c.npz").stat().st_mode & 0o777 == mode


def test_a_cache_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("airbench.data.cache.open_regular", refuse)
    assert read_cache(tmp_path / "c.npz") is None
    assert "this cache is not used (Permission denied)" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes on this system")
def test_a_pipe_in_place_of_a_cache_does_not_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "c.npz")
    assert read_cache(tmp_path / "c.npz") is None
    assert "not a regular file" in capsys.readouterr().err


def test_a_warning_that_nobody_reads_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        warn("something")


def test_the_command_data_says_why_it_downloads_in_spite_of_a_cache(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("offline")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", offline)
    (own_cache / "cifar10.npz").write_bytes(b"PK\3\4 damaged")
    assert main(["data"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "cifar10.npz: this cache is not used (" in lines[0]
    assert "could not be downloaded (offline)" in lines[1]


def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    for variable in ("AIRBENCH_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)


def test_without_a_home_folder_images_are_read_anew_after_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    homeless(monkeypatch)
    assert cache_folder() is None
    root = write_pngs(tmp_path)
    assert len(sources.load_dataset(Data(path=str(root))).train) == 50
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert "set AIRBENCH_CACHE to a folder" in warning


def test_without_a_home_folder_a_download_goes_to_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    roots = []

    def download(root: str, **_: object) -> None:
        roots.append(root)
        raise OSError("offline")

    homeless(monkeypatch)
    monkeypatch.setattr("torchvision.datasets.CIFAR10", download)
    with pytest.raises(DataError, match="offline"):
        sources.load_dataset(Data())
    assert "download-" in roots[0]
    assert not Path(roots[0]).exists()


def test_without_a_home_folder_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homeless(monkeypatch)
    with pytest.raises(DataError, match="cannot be written to the cache; set AIRBENCH_CACHE"):
        sources.import_copy(DATASETS["cifar100"], write_batches(tmp_path, CIFAR100))
