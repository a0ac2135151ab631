"""Files by their path inside a folder, a tar or a zip, so that a reader of a layout needs to know only paths.

Nothing is extracted to disk, and of an archive only the members that are asked for are held in memory.
"""

import bz2
import gzip
import io
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from airbench.data.foreign import (
    MAX_FILE,
    MAX_FILES,
    MAX_TOTAL,
    MIB,
    check_size,
    files_of,
    is_litter,
    open_regular,
    read_regular,
    read_within,
    refuse_climbing,
)
from airbench.errors import DataError

_SINGLE = (".pt", ".parquet", ".npz")
"""Suffixes of files that are read whole, although some of them are archives inside."""
_PACKED = {b"7z\xbc\xaf": "7z", b"Rar!": "rar", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of archives that are not read here."""


class Entries(Protocol):
    """Files by path, with ``/`` between the parts."""

    def names(self) -> list[str]:
        """Paths of all files, without litter."""

    def read(self, names: Sequence[str], limit: int) -> Iterator[tuple[str, bytes]]:
        """Path and content of the named files, in whatever order is cheapest.

        Raises DataError for one of more than ``limit`` bytes, and for anything but a regular file.
        """


class _Folder:
    """Files below a folder."""

    def __init__(self, path: Path):
        self.root, self.files = files_of(path)

    def names(self) -> list[str]:
        return list(self.files)

    def read(self, names: Sequence[str], limit: int) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, read_regular(self.root / name, limit)


class _Zip:
    """Members of a zip archive."""

    def __init__(self, path: Path):
        self.path = path
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
        listed = [member.filename.replace("\\", "/") for member in members]
        _check_names(path, listed)
        self.members = {name: member for name, member in zip(listed, members, strict=True) if not is_litter(name)}

    def names(self) -> list[str]:
        return list(self.members)

    def read(self, names: Sequence[str], limit: int) -> Iterator[tuple[str, bytes]]:
        with open_regular(self.path) as stream, zipfile.ZipFile(stream) as archive:
            for name in names:
                member = self.members[name]
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise DataError(f"{self.path}: {name} is compressed in a way that is not read here; zip it anew")
                with archive.open(member) as content:
                    yield name, read_within(cast(BinaryIO, content), limit, f"{self.path}: {name}")


class _Tar:
    """Members of a tar archive, plain or compressed by gzip or bzip2.

    It is streamed once for the names and once for each ``read``, and what nobody asks for is skipped.
    """

    def __init__(self, path: Path):
        self.path = path
        with _unpacked(path) as stream, tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:") as archive:
            listed = [(m.name.removeprefix("./"), _Member.of(m)) for m in _members(archive, path) if not m.isdir()]
        _check_names(path, [name for name, _ in listed])
        self.members = {name: member for name, member in listed if not is_litter(name)}

    def names(self) -> list[str]:
        return list(self.members)

    def read(self, names: Sequence[str], limit: int) -> Iterator[tuple[str, bytes]]:
        with _unpacked(self.path) as stream:
            for name in sorted(names, key=lambda name: self.members[name].offset):
                member, where = self.members[name], f"{self.path}: {name}"
                if not member.plain:
                    raise DataError(f"{where}: not a regular file; pack the archive without links and holes")
                check_size(member.size, limit, where)
                stream.seek(member.offset)
                content = stream.read(member.size)
                if len(content) < member.size:
                    raise EOFError("cut short")
                yield name, content


class _Member(NamedTuple):
    """Where a member of a tar lies; a TarInfo would take a kilobyte."""

    offset: int
    size: int
    plain: bool
    """Neither a link nor a device, and without holes."""

    @classmethod
    def of(cls, member: tarfile.TarInfo) -> "_Member":
        return cls(member.offset_data, member.size, member.isreg() and not member.issparse())


@contextmanager
def _unpacked(path: Path) -> Iterator["_Forward"]:
    """The bytes of a tar archive, whether or not it is compressed."""
    with open_regular(path) as stream:
        magic = stream.read(3)
        stream.seek(0)
        opened: BinaryIO = stream
        if magic[:2] == b"\x1f\x8b":
            opened = cast(BinaryIO, gzip.GzipFile(fileobj=stream))
        elif magic == b"BZh":
            opened = cast(BinaryIO, bz2.BZ2File(stream))
        end = sys.maxsize if opened is stream else MAX_TOTAL  # it costs nothing to skip what need not be unpacked
        yield _Forward(io.BufferedReader(cast(io.RawIOBase, opened), MIB), path, end)


class _Forward:
    """A stream that is only ever read forward, in bounded pieces and up to a bounded position.

    The headers of a tar say how much to read and to skip; those of a hostile one say so as well.
    """

    def __init__(self, stream: io.BufferedReader, path: Path, end: int):
        self.stream, self.path, self.end = stream, path, end

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_FILE + 1:
            raise DataError(f"{self.path}: damaged: an entry asks for {size:,} bytes at once")
        return self.stream.read(size)

    def seek(self, position: int) -> int:
        if position < self.stream.tell():
            raise DataError(f"{self.path}: damaged: an entry points backwards")
        if position > self.end:
            raise DataError(f"{self.path}: unpacks to more than {self.end // (1024 * MIB)} GiB; unpack it yourself")
        return self.stream.seek(position)

    def tell(self) -> int:
        return self.stream.tell()


def _members(archive: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    for _ in range(MAX_FILES):
        member = archive.next()
        if member is None:
            return
        yield member
        archive.members = []  # type: ignore[attr-defined] # it would keep all that it has passed
    raise DataError(f"{path}: more than {MAX_FILES:,} entries")


def _check_names(path: Path, names: list[str]) -> None:
    refuse_climbing(path, names)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{path}: its entry '{twice[0]}' occurs twice; pack it anew")


def open_entries(path: Path) -> Entries:
    """The files of a folder, of an archive, or of a single file. Raises DataError for what is none of them."""
    if path.is_dir() or path.suffix in _SINGLE:
        return _Folder(path)
    with open_regular(path) as stream:
        head = stream.read(512)
    if head.startswith(b"PK") or path.suffix == ".zip":
        return _Zip(path)
    packed = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)
    if packed:
        raise DataError(f"{path}: a {packed} archive, which is not read here; unpack it and name the folder")
    compressed = head.startswith((b"\x1f\x8b", b"BZh"))
    if compressed or head[257:262] == b"ustar" or path.name.endswith((".tar", ".tgz", ".tar.gz")):
        return _Tar(path)
    raise DataError(f"{path}: neither a folder nor an archive")
