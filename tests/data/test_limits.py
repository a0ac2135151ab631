"""Whatever a file holds, reading it costs a bounded amount of memory and ends in data or in one line."""

import gzip
import io
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.data.foreign import MIB
from airbench.errors import DataError
from tests.data.copies import (
    CIFAR10,
    error_of,
    read,
    tarred,
    write_batches,
    write_binary,
    write_images,
    write_npz,
    write_pngs,
    write_tensors,
    zipped,
)

PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes on this system")


@contextmanager
def at_most(mebibytes: float, seconds: float = 60) -> Iterator[None]:
    """Fail if Python's allocations grow by more than that meanwhile, or it takes longer."""
    tracemalloc.start()
    started = time.monotonic()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mebibytes * MIB
    assert time.monotonic() - started < seconds


@PIPES
def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    assert "not a regular file" in error_of(tmp_path / "pipe.tar")
    assert "not a regular file" in error_of(Path("/dev/zero"))
    root = write_pngs(tmp_path)
    os.mkfifo(root / "train" / "cat" / "pipe.png")
    assert "pipe.png: not a regular file" in error_of(root)
    (root / "train" / "cat" / "pipe.png").unlink()
    (root / "train" / "cat" / "zero.png").symlink_to("/dev/zero")
    assert "zero.png: not a regular file" in error_of(root)


def test_a_large_member_that_nobody_asked_for_is_skipped(tmp_path: Path) -> None:
    path, size = tmp_path / "c.tgz", 100 * MIB
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        readme = tarfile.TarInfo("README")
        readme.size = size
        archive.addfile(readme, _Zeros(size))
        archive.add(write_pngs(tmp_path), "pngs")
    with at_most(40):
        assert len(read(path).train) == 50


class _Zeros(io.RawIOBase):
    def __init__(self, size: int):
        self.left = size

    def read(self, size: int = -1) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


def _sparse(name: str, real_size: int) -> bytes:
    """A GNU sparse member of which nothing is stored."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\0" * 2
    header[483:495] = b"\x80" + real_size.to_bytes(11, "big")
    header[148:156] = b"        "
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


@pytest.mark.parametrize(("name", "wanted"), [("README", False), ("pngs/train/cat/huge.png", True)])
def test_a_sparse_member_of_terabytes(tmp_path: Path, name: str, wanted: bool) -> None:
    path = tarred(tmp_path, write_pngs(tmp_path), "c.tar")
    path.write_bytes(_sparse(name, 4 * 2**40) + path.read_bytes())
    with at_most(40):
        if wanted:
            assert "huge.png: not a regular file" in error_of(path)
        else:
            assert len(read(path).train) == 50


def test_a_tar_header_that_asks_for_gigabytes_at_once(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 5 * 1024 * MIB
    path = tmp_path / "c.tgz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.write(bytes(20 * MIB))
    with at_most(40):
        assert "asks for" in error_of(path)


def test_an_archive_that_unpacks_to_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airbench.data.entries.MAX_TOTAL", MIB)
    path = tmp_path / "c.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("a", "b", "c"):
            info = tarfile.TarInfo(name)
            info.size = MIB
            archive.addfile(info, _Zeros(MIB))
    assert "unpacks to more than" in error_of(path)


@pytest.mark.parametrize("name", ["train/cat/1.png", "data_batch_1"])
def test_a_zip_member_that_inflates_beyond_the_limit(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airbench.data.layouts.batches.MAX_FILE", 16 * MIB)
    path = tmp_path / "c.zip"
    others = [*CIFAR10.official.train, *CIFAR10.official.test] if name == "data_batch_1" else []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in {*others, name}:
            archive.writestr(file, bytes(200 * MIB) if file == name else b"")
    with at_most(80):
        assert f"{name}: larger than 16 MiB" in error_of(path)


def test_more_bytes_in_all_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airbench.data.layouts.base.MAX_TOTAL", 1000)
    assert "in all, which is too much" in error_of(write_pngs(tmp_path))


def test_more_decoded_bytes_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airbench.data.images.MAX_TOTAL", 10 * 32 * 32 * 3)
    assert "too many to hold" in error_of(write_pngs(tmp_path))


def test_more_files_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airbench.data.foreign.MAX_FILES", 20)
    monkeypatch.setattr("airbench.data.entries.MAX_FILES", 20)
    root = write_pngs(tmp_path)
    assert "more than 20 files" in error_of(root)
    assert "more than 20 entries" in error_of(tarred(tmp_path, root, "c.tar"))


def png_header(side: int) -> bytes:
    """A whole PNG, but for its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["cifar10", "folder"])
@pytest.mark.parametrize("side", [3000, 10_000, 20_000])
def test_a_png_of_a_huge_size_is_refused_before_it_is_decoded(
    tmp_path: Path, name: str, side: int, recwarn: pytest.WarningsRecorder
) -> None:
    pixels = np.zeros((10, 32, 32, 3), np.uint8)
    splits = {split: (pixels, np.arange(10)) for split in ("train", "test")}
    root = write_images(tmp_path / "own", splits, CIFAR10.classes)
    (root / "test" / "airplane" / "0.png").write_bytes(png_header(side))
    with at_most(40):
        assert "test/airplane/0.png" in error_of(root, name)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("magic", "kind"),
    [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a", "rar"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")],
)
def test_archives_that_are_not_read_are_named(tmp_path: Path, magic: bytes, kind: str) -> None:
    (tmp_path / "c.bin").write_bytes(magic + bytes(100))
    assert f"a {kind} archive" in error_of(tmp_path / "c.bin")


def test_a_link_inside_an_archive_is_named(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    (root / "train" / "cat" / "link.png").symlink_to("3.png")
    assert "link.png: not a regular file" in error_of(tarred(tmp_path, root, "c.tar"))


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    root = write_pngs(tmp_path)
    monkeypatch.setattr("airbench.data.foreign.os.scandir", refuse)
    assert error_of(root).startswith(f"{root}: cannot be read (Permission denied")


# ------------------------------------------------------------------ flipped bytes


COPIES = {
    "tar of batches": lambda p: tarred(p, write_batches(p), "c.tar"),
    "tgz of images": lambda p: tarred(p, write_pngs(p), "c.tgz"),
    "zip of images": lambda p: zipped(p, write_pngs(p)),
    "tar of binary files": lambda p: tarred(p, write_binary(p), "c.tar"),
    "npz": write_npz,
    "tar of tensors": lambda p: tarred(p, write_tensors(p), "c.tar"),
}


@pytest.fixture(scope="module", params=list(COPIES))
def copy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return COPIES[request.param](tmp_path_factory.mktemp("copy"))


@given(data=st.data())
def test_any_flipped_bytes_give_images_or_one_line(copy: Path, data: st.DataObject) -> None:
    content = bytearray(copy.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] ^= data.draw(st.integers(1, 255))
    damaged = copy.with_name(f"damaged-{copy.name}")
    damaged.write_bytes(content)
    message = ""
    try:
        assert len(read(damaged).train)
    except DataError as error:
        message = str(error)
    assert "\n" not in message
    assert " at 0x" not in message
