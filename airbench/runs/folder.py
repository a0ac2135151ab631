"""A run's folder while it is written: whole files or none, finished lines synced, one process at a time."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airbench.recipe import Recipe, dump_recipe
from airbench.runs.files import FORMAT, RECIPE, RUN, TRIALS, RunFolderError, sha256


class RunFolder:
    """A run on disk, being written."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, root: Path, recipe: Recipe, facts: dict[str, Any], source_diff: str = "") -> "RunFolder":
        """Make ``root/<date>-<time>-<recipe>`` and write all that is known before the first trial.

        Raises RunFolderError where it cannot be written.
        """
        now = datetime.now(UTC)
        try:
            folder = cls(_new_folder(root, f"{now:%Y%m%d-%H%M%S}-{recipe.name}"))
        except OSError as error:
            raise RunFolderError(
                f"{root}: no run folder can be written there ({error.strerror}); give another place with --out"
            ) from None
        folder.write(RECIPE, dump_recipe(recipe))
        start = {"format": FORMAT, "started": now.isoformat(timespec="seconds")}
        folder.write_json(RUN, {**start, "recipe_sha256": sha256(folder.path / RECIPE), **facts})
        if source_diff:
            folder.write("source.diff", source_diff + "\n")
        (folder.path / TRIALS).touch()
        return folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into this folder. Raises RunFolderError if one does already."""
        try:
            file = open(self.path / TRIALS, "a")  # noqa: SIM115 - closed below; it is held open for the lock
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be trained into ({error.strerror})") from None
        with file:
            try:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:  # no such locks on this system
                pass
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):  # a file system without locks: best effort
                    yield
                    return
                raise RunFolderError(f"{self.path}: another process is training into it") from None
            yield

    def drop_half_line(self) -> None:
        """Remove a last line that was cut short: its trial was never finished, and is about to be trained anew."""
        file = self.path / TRIALS
        content = file.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(file, content.rfind(b"\n") + 1)

    def append_trial(self, line: dict[str, Any]) -> None:
        """Add a line to ``trials.jsonl`` and wait until it is on disk.

        Raises RunFolderError, with the line in it so that it is not lost, where the disk refuses it.
        """
        text = json.dumps(line, allow_nan=False)
        file = self.path / TRIALS
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_APPEND)  # it was made with the folder, and must still be there
            try:
                before = os.fstat(descriptor).st_size
                data = (text + "\n").encode()
                if before and os.pread(descriptor, 1, before - 1) != b"\n":
                    data = b"\n" + data  # an earlier line was cut short: keep this one whole
                try:
                    if os.write(descriptor, data) != len(data):
                        raise OSError(28, "No space left on device")
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, before)
                    raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RunFolderError(
                f"{file}: cannot be written ({error.strerror}); make room, then go on with airbench resume "
                f"{self.path}; the finished trial was: {text}"
            ) from None

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file, whole or not at all. Raises RunFolderError."""
        self.write(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a file, whole or not at all. Raises RunFolderError."""
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=self.path, delete=False, encoding="utf-8", errors="backslashreplace"
            ) as stream:
                temporary = Path(stream.name)
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(OSError):  # a file system without modes
                os.chmod(temporary, 0o644)
            os.replace(temporary, self.path / name)
        except OSError as error:
            if temporary:
                temporary.unlink(missing_ok=True)
            raise RunFolderError(
                f"{self.path / name}: cannot be written ({error.strerror}); finished trials are safe in {TRIALS}"
            ) from None


def _new_folder(root: Path, name: str) -> Path:
    for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
        path = root / (name + suffix)
        try:
            path.mkdir(parents=True)  # fails if it exists: two runs never share a folder
            return path
        except FileExistsError:
            if not root.is_dir():
                raise
    raise FileExistsError(17, "too many runs in one second")
