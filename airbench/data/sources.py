"""Where images come from: a local copy, the cache, the official download, or the program itself."""

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

from tqdm import tqdm

from airbench.data.cache import cache_file, cache_folder, read_cache, write_cache
from airbench.data.dataset import GENUINE_CIFAR10, Dataset
from airbench.data.layouts import LAYOUTS, read_local_copy
from airbench.data.shapes import SHAPES_VERSION, draw_shapes
from airbench.errors import DataError
from airbench.recipe.data import Data

ENVIRONMENT_VARIABLE = "AIRBENCH_DATA"


@dataclass(frozen=True)
class Origin:
    """Where a recipe's images would come from, found out without reading them."""

    kind: str
    """``local``, ``cache``, ``download`` or ``built-in``."""
    path: Path | None
    """The copy, or the cache file."""
    because: str
    """What decided."""


def imported_file() -> Path:
    """The cache file that holds CIFAR-10 once it was downloaded or imported."""
    return cache_folder() / "cifar10.npz"


def find_origin(data: Data) -> Origin:
    """Decide where the images of ``data`` come from: the recipe, the environment, the cache, the download."""
    if data.name == "shapes":
        return Origin("built-in", None, f"data.name is shapes (drawn by the program, seed {data.seed})")
    if data.path is not None:
        return Origin("local", _expanded(data.path), "data.path (or --data) names it")
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Origin("local", _expanded(named), f"{ENVIRONMENT_VARIABLE} names it")
    if imported_file().is_file():
        return Origin("cache", imported_file(), "it was downloaded or imported before")
    return Origin("download", None, "no local copy is named")


def _expanded(path: str) -> Path:
    """``~`` expanded; a file of airbench's cache (train.pt) stands for the folder that holds the other as well."""
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        raise DataError(f"{path}: there is no such user's home folder") from None
    return expanded.parent if expanded.suffix == ".pt" and expanded.exists() else expanded


def load_dataset(data: Data) -> Dataset:
    """The images that ``data`` asks for. Raises DataError, in one line, if they cannot be had."""
    origin = find_origin(data)
    if origin.kind == "built-in":
        file = cache_folder() / f"shapes-v{SHAPES_VERSION}-{data.seed}.npz"
        dataset = _through_cache(file, lambda: draw_shapes(seed=data.seed))
    elif origin.kind == "local":
        assert origin.path is not None
        dataset = _read_local(origin.path)
    else:
        cached = read_cache(imported_file()) if origin.kind == "cache" else None
        dataset = cached or _download()
    return dataset if data.held_out is None else dataset.hold_out(data.held_out)


def import_copy(path: Path) -> Dataset:
    """Decode the copy at ``path`` into the cache, to be used from now on wherever none is named.

    Raises DataError if it is not the genuine CIFAR-10 or the cache cannot be written to.
    """
    dataset = read_local_copy(path, _progress(f"decoding {path.name}"))
    if not dataset.genuine:
        raise DataError(f"{genuineness(dataset)}; not imported. To train on it all the same: --data {path}")
    if not write_cache(dataset, imported_file()):
        raise DataError(f"{imported_file()}: cannot be written; set AIRBENCH_CACHE to a folder with 200 MB free")
    return dataset


def genuineness(dataset: Dataset) -> str:
    """One line on whether the images are what their name says."""
    if dataset.held_out:
        return (
            f"{len(dataset.train):,} training images of {dataset.source}, evaluated on {dataset.held_out:,} others "
            "held out of them; the test images are not used"
        )
    if dataset.name != "cifar10":
        return f"built-in images (train {dataset.train.fingerprint[:12]}, test {dataset.test.fingerprint[:12]})"
    if dataset.genuine:
        return f"genuine CIFAR-10 ({len(dataset.train):,} training and {len(dataset.test):,} test images)"
    differing = [
        f"{name} is {split.fingerprint}, genuine is {GENUINE_CIFAR10[name]}"
        for name, split in (("train", dataset.train), ("test", dataset.test))
        if split.fingerprint != GENUINE_CIFAR10[name]
    ]
    return f"WARNING: {dataset.source}: not the genuine CIFAR-10: " + "; ".join(differing)


def _read_local(path: Path) -> Dataset:
    if not path.exists():
        return read_local_copy(path)  # says that there is none
    return _through_cache(cache_file(path), lambda: read_local_copy(path, _progress(f"decoding {path.name}")))


def _through_cache(file: Path, make: Callable[[], Dataset]) -> Dataset:
    dataset = read_cache(file)
    if dataset is None:
        dataset = make()
        _keep(dataset, file)
    return dataset


def _keep(dataset: Dataset, file: Path) -> None:
    if not write_cache(dataset, file):
        print(
            f"airbench: {file.parent} cannot be written, so the images will be decoded again next time; set "
            "AIRBENCH_CACHE to a folder with 200 MB free",
            file=sys.stderr,
        )


def _download() -> Dataset:
    from torchvision.datasets import CIFAR10

    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="download-") as folder:  # one a process
            CIFAR10(root=folder, train=True, download=True)
            dataset = read_local_copy(Path(folder) / "cifar-10-batches-py", _progress("decoding CIFAR-10"))
    except (URLError, HTTPException, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"CIFAR-10 could not be downloaded ({' '.join(str(reason).split())}): set {ENVIRONMENT_VARIABLE} (or "
            f"--data) to a copy of it ({LAYOUTS}), or run `make quickstart`, which needs no download"
        ) from None
    dataset = replace(dataset, source="the official download")
    _keep(dataset, imported_file())
    return dataset


class _progress:  # noqa: N801 - used as a function
    """A progress bar that appears with the first call and goes with the last."""

    def __init__(self, label: str):
        self.label = label
        self.bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = tqdm(total=total, desc=self.label, unit=" files", leave=False, disable=None)
        self.bar.update(done - self.bar.n)
        if done >= total:
            self.bar.close()
