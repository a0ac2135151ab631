"""Names of a run's files, and what the code that writes and reads them shares."""

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from airbench.errors import AirbenchError

FORMAT = 1
"""Format version; incremented when older readers would misread a run."""

RUN, RECIPE, TRIALS, SUMMARY, SPECTRA = "run.json", "recipe.yaml", "trials.jsonl", "summary.json", "spectra.json"


def weights_name(trial: int) -> str:
    """Return the name of the file with the trained net of ``trial`` (from 0)."""
    return f"trial-{trial}-weights.pt"


def predictions_name(trial: int) -> str:
    """Return the name of the file with the predictions of ``trial`` (from 0)."""
    return f"trial-{trial}-predictions.npz"


MARKS = (RUN, TRIALS)
"""A folder with one of these files is a run, complete or damaged. A sweep has a recipe, too."""


MAX_TRIALS = 1_000_000
"""More than anyone trains: a larger number in a file means damage."""


MAX_BYTES = 2**30
"""More than any file of a run has: a million trials of a few epochs take less."""


class RunFolderError(AirbenchError):
    """A run folder that cannot be written or read."""


class UnsavedTrialError(RunFolderError):
    """A finished trial that cannot be written. The message is all that is left of it, and is never shortened."""


def named_twice(paths: Sequence[Path]) -> Path | None:
    """Return a path that leads where one before it does; None if there is none."""
    places: set[Path] = set()
    for path in paths:
        if path.resolve() in places:
            return path
        places.add(path.resolve())
    return None


def content(file: Path) -> bytes:
    """Read a file. Raises OSError if it is not a regular file (a pipe would be waited for), or is too large."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        raise OSError(errno.EINVAL, "not a regular file of a run's size")
    return file.read_bytes()


def replace_file(file: Path, data: bytes) -> None:
    """Write a file atomically: readers find the old one or the new, even if the writer is killed. Raises OSError."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as stream:
            temporary = Path(stream.name)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(OSError):  # a file system without modes
            os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except OSError:
        if temporary:
            temporary.unlink(missing_ok=True)
        raise


def sha256(file: Path) -> str | None:
    """Return the SHA-256 of a file; None if it cannot be read."""
    try:
        return hashlib.sha256(content(file)).hexdigest()
    except OSError:
        return None
