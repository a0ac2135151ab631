"""Decoded data sets, kept in the user's cache folder so that a second start takes a second."""

import glob
import hashlib
import json
import os
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from airbench.data.dataset import Dataset, make_dataset
from airbench.data.foreign import files_of, open_regular, why
from airbench.errors import DataError

_FORMAT = 1


def warn(message: str) -> None:
    """Print one line to whoever reads; if nobody does, nothing is lost."""
    with suppress(OSError, ValueError):
        print(f"airbench: {message}", file=sys.stderr)


def cache_folder() -> Path | None:
    """``$AIRBENCH_CACHE``, else ``airbench`` in the user's cache folder; None where the user has no home folder."""
    own = os.environ.get("AIRBENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        if own:
            return Path(own).expanduser()
        return (Path(base) if base else Path.home() / ".cache") / "airbench"
    except RuntimeError:
        return None


def cache_file(name: str, path: Path) -> Path | None:
    """Where the decoded copy of ``path`` is kept: another file if any file of the copy changes.

    It goes by the names, sizes, and times of change of all files. None if there is no cache folder.
    """
    folder = cache_folder()
    if folder is None:
        return None
    root, files = files_of(Path(os.path.realpath(path)))
    of_root, identity = hashlib.sha256(str(root).encode(errors="surrogateescape")), hashlib.sha256()
    for file, status in sorted(files.items()):
        # The time of modification may be set by whoever writes the file; that of the last change may not.
        text = f"\n{file} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        identity.update(text.encode(errors="surrogateescape"))
    return folder / f"{name}-{of_root.hexdigest()[:12]}-{identity.hexdigest()[:12]}.npz"


def write_cache(dataset: Dataset, file: Path) -> bool:
    """Write ``dataset`` to ``file``: whole or not at all, also when two processes do so at once.

    Returns False where the folder cannot be written to or the disk is full; training can go on without.
    """
    meta = {
        "format": _FORMAT, "name": dataset.name, "classes": dataset.classes, "source": dataset.source,
        "fingerprints": [dataset.train.fingerprint, dataset.test.fingerprint],
    }  # fmt: skip
    temporary = file.with_name(f"{file.name}-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for left in file.parent.glob("*.part"):  # by processes that were killed
            if time.time() - left.stat().st_mtime > 24 * 3600:
                left.unlink(missing_ok=True)
        with open(temporary, "xb", opener=_for_everyone) as stream:
            np.savez(
                stream,
                meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
                train_images=dataset.train.images,
                train_labels=dataset.train.labels,
                test_images=dataset.test.images,
                test_labels=dataset.test.labels,
            )
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
        of_root, found, _ = file.stem.rpartition("-")
        if found and "-" in of_root:  # copies of the same images, before a file among them changed
            for older in file.parent.glob(f"{glob.escape(of_root)}-????????????.npz"):
                if older != file:
                    older.unlink(missing_ok=True)
        return True
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        return False


def _for_everyone(path: str, flags: int) -> int:
    """Open a file that others may read, as far as the umask lets them: several users may share a cache."""
    return os.open(path, flags, 0o644)


def read_cache(file: Path) -> Dataset | None:
    """The data set in ``file``; None where there is none, or none that can be trusted, after a warning why.

    Fingerprints and statistics are computed anew from the images, and the fingerprints compared with those in
    the file.
    """
    try:
        return _read(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # parsers raise nearly all of them on bytes that were flipped
        warn(f"{file}: this cache is not used ({why(error)}); the images will be decoded again")
        return None


def _read(file: Path) -> Dataset:
    with open_regular(file) as stream, np.load(stream, allow_pickle=False) as saved:
        meta = json.loads(saved["meta"].tobytes())
        if meta["format"] != _FORMAT:
            raise DataError("it was written by another version")
        train, test = ((saved[f"{split}_images"], saved[f"{split}_labels"]) for split in ("train", "test"))
    dataset = make_dataset(meta["name"], train, test, tuple(meta["classes"]), meta["source"])
    if [dataset.train.fingerprint, dataset.test.fingerprint] != meta["fingerprints"]:
        raise DataError("its images are not those that were written")
    return dataset
