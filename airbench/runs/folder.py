"""Writing a run folder: files are written atomically, trials are synced, and one process writes at a time."""

import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airbench.recipe import Recipe, dump_recipe
from airbench.runs.chain import chained
from airbench.runs.files import FORMAT, RECIPE, RUN, TRIALS, RunFolderError, UnsavedTrialError, replace_file, sha256


class RunFolder:
    """A run folder being written."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, root: Path, recipe: Recipe, facts: dict[str, Any], source_diff: str = "") -> "RunFolder":
        """Create ``root/<date>-<time>-<recipe>`` and write everything known before the first trial.

        Raises RunFolderError if it cannot be written.
        """
        now = datetime.now(UTC)
        try:
            folder = cls(new_folder(root, f"{now:%Y%m%d-%H%M%S}-{recipe.name}"))
            (folder.path / TRIALS).touch()  # first, so that what is interrupted here can be resumed
        except OSError as error:
            raise RunFolderError(
                f"{root}: cannot create a run folder there ({error.strerror}); choose another place with --out"
            ) from None
        folder.write(RECIPE, dump_recipe(recipe))
        start = {"format": FORMAT, "started": now.isoformat(timespec="seconds")}
        folder.write_json(RUN, {**start, "recipe_sha256": sha256(folder.path / RECIPE), **facts})
        folder.write_source_diff(source_diff)
        return folder

    def write_source_diff(self, difference: str) -> None:
        """Write what differed from the commit; no file where nothing did. Raises RunFolderError."""
        if difference:
            self.write("source.diff", difference + "\n")
        else:
            (self.path / "source.diff").unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other training processes. Raises RunFolderError if one has locked it already."""
        with locked(self.path / TRIALS, "run"):
            yield

    def drop_half_line(self) -> None:
        """Remove an incomplete last line, left by a crash while writing: its trial will be trained again."""
        file = self.path / TRIALS
        content = file.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(file, content.rfind(b"\n") + 1)

    def append_trial(self, line: dict[str, Any]) -> None:
        """Append a line to ``trials.jsonl``, chained to what is there (see :mod:`chain`), and wait until it is on disk.

        Raises UnsavedTrialError if that fails; the message contains the line, so that it is not lost.
        """
        file = self.path / TRIALS
        text = json.dumps(line, allow_nan=False)
        try:
            facts = json.loads((self.path / RUN).read_text(encoding="utf-8"))
            text = json.dumps(chained(line, facts, _last_line(file)), allow_nan=False)
            self._append(file, text)
        except OSError as error:
            raise UnsavedTrialError(
                f"{file}: cannot be written ({error.strerror}); free some space, then run: airbench resume "
                f"{self.path}; the finished trial was: {text}"
            ) from None
        except ValueError:
            raise UnsavedTrialError(
                f"{self.path / RUN}: damaged while the run was trained, so nothing can be added to it; the finished "
                f"trial was: {text}"
            ) from None

    def _append(self, file: Path, text: str) -> None:
        """Append ``text`` as a line, whole or not at all."""
        # The file was created with the folder. If it is gone, so are the trials: do not begin another one.
        with open(os.open(file, os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)), "r+b", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 1))
            new_line = b"\n" if size and stream.read(1) != b"\n" else b""  # the last line is incomplete
            data = new_line + text.encode() + b"\n"
            try:
                if stream.write(data) != len(data):
                    raise OSError(28, "No space left on device")
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(size)
                raise

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file atomically. Raises RunFolderError."""
        self.write(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a text file atomically. Raises RunFolderError."""
        self.write_bytes(name, text.encode("utf-8", errors="backslashreplace"))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file atomically. Raises RunFolderError."""
        try:
            replace_file(self.path / name, data)
        except OSError as error:
            raise RunFolderError(
                f"{self.path / name}: cannot be written ({error.strerror}); finished trials are safe in {TRIALS}"
            ) from None


@contextmanager
def locked(file: Path, what: str) -> Iterator[None]:
    """Lock ``file``, which stands for the folder of a run or a sweep (``what``), against other training processes.

    Raises RunFolderError if one has locked it already.
    """
    path = file.parent
    try:
        stream = open(file, "rb+")  # noqa: SIM115 - closed below; held open for the lock
    except OSError as error:
        raise RunFolderError(f"{path}: not writable ({error.strerror})") from None
    with stream:
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # not available on this system
            pass
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise RunFolderError(f"{path}: another process is training this {what}") from None
            with suppress(OSError, ValueError):
                print(
                    f"airbench: {path}: this file system has no locks ({error.strerror}); "
                    f"do not resume the {what} while it is being trained",
                    file=sys.stderr,
                )
        yield


def _last_line(file: Path) -> bytes:
    """Return the last line of a file that is not empty, reading no more of it than necessary."""
    with file.open("rb") as stream:
        size, length = stream.seek(0, os.SEEK_END), 2**14
        while True:
            stream.seek(max(0, size - length))
            lines = stream.read().rstrip().rsplit(b"\n", 1)
            if len(lines) == 2 or length >= size:
                return lines[-1]
            length *= 4


def new_folder(root: Path, name: str) -> Path:
    """Create ``root/name``, or if it exists ``root/name-2`` or so. Raises OSError."""
    for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
        path = root / (name + suffix)
        try:
            path.mkdir(parents=True)  # fails if it exists: two runs never share a folder
            return path
        except FileExistsError:
            if not root.is_dir():
                raise
    raise FileExistsError(17, "too many runs in one second")
