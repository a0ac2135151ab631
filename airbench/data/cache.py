"""Decoded datasets, kept in the user's cache folder so that a second start takes under a second."""

import hashlib
import json
import os
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from airbench.data.dataset import Dataset, Split
from airbench.errors import DataError

_FORMAT = 1


def cache_folder() -> Path:
    """``$AIRBENCH_CACHE``, else ``airbench`` in the user's cache folder."""
    own = os.environ.get("AIRBENCH_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "airbench"


def cache_file(path: Path) -> Path:
    """Where the decoded copy of ``path`` is kept: another file if the copy changes.

    It goes by names, sizes and times of modification. Of a folder of more than 1,000 files only those of its
    folders are looked at, which tell of files that were added or removed.
    """
    path = path.resolve()
    places = [path]
    if path.is_dir():
        below = sorted(path.rglob("*"))
        places += below if len(below) <= 1000 else [p for p in below if p.is_dir()]
    identity = []
    for place in places:
        stat = place.stat()
        identity.append(f"{place} {stat.st_size} {stat.st_mtime_ns}")
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
    return cache_folder() / f"cifar10-{digest}.npz"


def write_cache(dataset: Dataset, file: Path) -> bool:
    """Write ``dataset`` to ``file``: whole or not at all, also when two processes do so at once.

    Returns False where the folder cannot be written to or the disk is full; training can go on without.
    """
    meta = {
        "format": _FORMAT, "name": dataset.name, "classes": dataset.classes, "mean": dataset.mean,
        "std": dataset.std, "source": dataset.source,
        "fingerprints": [dataset.train.fingerprint, dataset.test.fingerprint],
    }  # fmt: skip
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for left in file.parent.glob("*.part"):  # by processes that were killed
            if time.time() - left.stat().st_mtime > 24 * 3600:
                left.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as stream:
            temporary = Path(stream.name)
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
        return True
    except OSError:
        if temporary:
            temporary.unlink(missing_ok=True)
        return False


def read_cache(file: Path) -> Dataset | None:
    """The dataset in ``file``, or None where there is none that can be read (it is then made anew).

    The archive's checksums are checked on the way, so a damaged cache reads as none.
    """
    try:
        with np.load(file, allow_pickle=False) as saved:
            meta = json.loads(saved["meta"].tobytes())
            if meta["format"] != _FORMAT:
                return None
            splits = {
                split: Split(saved[f"{split}_images"], saved[f"{split}_labels"], fingerprint)
                for split, fingerprint in zip(("train", "test"), meta["fingerprints"], strict=True)
            }
        return Dataset(
            meta["name"], splits["train"], splits["test"], tuple(meta["classes"]), tuple(meta["mean"]),
            tuple(meta["std"]), meta["source"],
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, DataError):
        return None
