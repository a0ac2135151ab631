"""The one place that opens files which somebody else made.

Whatever they hold, it costs a bounded amount of memory, and ends in data or in a DataError of one line: only
regular files are opened, every read has a limit, and every exception of a parser becomes that line.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from airbench.errors import DataError

MIB = 2**20
MAX_IMAGE_FILE = 16 * MIB
MAX_FILE = 256 * MIB
"""Largest file of a layout that keeps many images in one file: CIFAR-10 in one uncompressed file is 176 MiB."""
MAX_TOTAL = 16 * 1024 * MIB
"""Bytes read from a copy in all, and bytes of its images once they are decoded."""
MAX_FILES = 2_000_000

_TOGETHER = (".pt", ".parquet")
"""Suffixes of files that hold one split each: the other one lies beside it."""
_LITTER = re.compile(r"(?:^|/)(?:\.[^/]*|__MACOSX|Thumbs\.db|desktop\.ini)(?:/|$)", re.IGNORECASE)
_OBJECT = re.compile(r"\s*<[^<>]* at 0x[0-9a-f]+>", re.IGNORECASE)


def is_litter(name: str) -> bool:
    """Whether a file or folder was left by a file manager or an editor: ``.DS_Store``, ``__MACOSX``, any hidden one."""
    return _LITTER.search(name) is not None


def why(error: BaseException) -> str:
    """What an exception says, on one line and without addresses of objects."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    words = " ".join(_OBJECT.sub("", text).split()).rstrip(":")
    return words[:200] or type(error).__name__


@contextmanager
def one_line(
    what: str, *, state: str = "damaged or incomplete", remedy: str = "copy or download it again"
) -> Iterator[None]:
    """Turn whatever a parser raises on foreign bytes into one DataError: ``what``: ``state`` (why); ``remedy``.

    It catches every Exception: parsers raise nearly all of them on bytes that were flipped.
    """
    try:
        yield
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{what}: too large for this machine's memory") from None
    except Exception as error:
        file = error.filename if isinstance(error, OSError) else None
        if file is not None:  # the system's word on a file, not a parser's on its content
            where = "" if str(file) == what else f": {file}"
            raise DataError(f"{what}: cannot be read ({why(error)}{where}); {remedy}") from None
        raise DataError(f"{what}: {state} ({why(error)}); {remedy}") from None


def open_regular(path: Path) -> BinaryIO:
    """Open ``path`` for reading. Raises DataError if it is a device, a pipe, or anything but a regular file."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe must not block
    stream = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise DataError(f"{path}: not a regular file")
    return stream


def check_size(size: int, limit: int, what: str) -> None:
    """Raise DataError if ``what`` has more than ``limit`` bytes."""
    if size > limit:
        raise DataError(f"{what}: larger than {limit // MIB} MiB, which is more than such a file may have")


def read_within(stream: BinaryIO, limit: int, what: str) -> bytes:
    """All that is left in ``stream``. Raises DataError if that is more than ``limit`` bytes."""
    content = stream.read(limit + 1)
    check_size(len(content), limit, what)
    return content


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes."""
    with open_regular(path) as stream:
        return read_within(stream, limit, str(path))


def files_of(path: Path) -> tuple[Path, dict[str, os.stat_result]]:
    """A folder, and the files below it that make up the copy at ``path``, by their path with ``/`` between the parts.

    Symbolic links are followed. A file stands for itself, train.pt and *.parquet also for their likes beside it.
    Raises DataError for folders linked into themselves and for too many files.
    """
    if path.is_dir():
        return path, dict(_walk(path))
    if path.suffix in _TOGETHER:
        beside = sorted(p for p in path.parent.iterdir() if p.suffix == path.suffix and not is_litter(p.name))
        return path.parent, {p.name: p.stat() for p in beside}
    return path.parent, {path.name: path.stat()}


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below ``root`` but litter: its path relative to root, and what ``stat`` says."""
    root_status = os.stat(root)
    waiting = [("", frozenset({(root_status.st_dev, root_status.st_ino)}))]
    seen = 0
    while waiting:
        folder, above = waiting.pop()
        with os.scandir(root / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            seen += 1
            if seen > MAX_FILES:
                raise DataError(f"{root}: more than {MAX_FILES:,} files; name the folder of the data set itself")
            name = f"{folder}/{entry.name}" if folder else entry.name
            if is_litter(entry.name):
                continue
            status = _status(entry)
            if not stat.S_ISDIR(status.st_mode):
                yield name, status
                continue
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                raise DataError(f"{root}: {name} is linked to a folder that it lies in")
            waiting.append((name, above | {identity}))


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """What a link points to, or the link itself where it points nowhere."""
    try:
        # Windows tells the identity of a folder, which guards against loops, to os.stat only.
        return os.stat(entry.path) if entry.is_dir() else entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def refuse_climbing(path: Path, names: list[str]) -> None:
    """Raise DataError for an archive with an entry that points out of it."""
    for name in names:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or re.match(r"[A-Za-z]:", name):
            raise DataError(f"{path}: refused: its entry '{name}' points outside the archive")
