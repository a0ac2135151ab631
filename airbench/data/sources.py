"""Where images come from: a local copy, the cache, the official download, or the program itself."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

from tqdm import tqdm

from airbench.data.cache import cache_file, cache_folder, read_cache, warn, write_cache
from airbench.data.catalog import DatasetSpec
from airbench.data.dataset import Dataset
from airbench.data.foreign import one_line, why
from airbench.data.layouts import known_layouts, read_local_copy
from airbench.data.shapes import SHAPES_VERSION, draw_shapes
from airbench.errors import DataError
from airbench.recipe.data import DATASETS, Data

ENVIRONMENT_VARIABLE = "AIRBENCH_DATA"
_OWN_CACHE = "set AIRBENCH_CACHE to a folder with 200 MB free"


@dataclass(frozen=True)
class Origin:
    """Where a recipe's images would come from, found out without reading them."""

    kind: str
    """``local``, ``cache``, ``download``, ``built-in`` or ``own``."""
    path: Path | None
    """The copy, or the cache file."""
    because: str
    """What decided."""


def imported_file(spec: DatasetSpec) -> Path | None:
    """The cache file that holds a data set once it was downloaded or imported; None if there is no cache."""
    folder = cache_folder()
    return folder and folder / f"{spec.name}.npz"


def find_origin(data: Data) -> Origin:
    """Decide where the images of ``data`` come from: the recipe, the environment, the cache, the download."""
    spec = DATASETS[data.name]
    if spec.load is not None:
        if data.path is not None:
            raise DataError(
                f"data.path = {data.path}: no effect on data.name = {spec.name}, whose images a plugin loads; remove it"
            )
        return Origin("own", None, f"data.name is {spec.name}, which a plugin defines")
    if spec.drawn:
        return Origin("built-in", None, f"data.name is {spec.name} (drawn by the program, seed {data.seed})")
    if data.path is not None:
        return Origin("local", _expanded(data.path), "data.path (or --data) names it")
    if spec.download is None:
        raise DataError(f"data.name = {spec.name} needs data.path (or --data)")
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Origin("local", _expanded(named), f"{ENVIRONMENT_VARIABLE} names it")
    imported = imported_file(spec)
    if imported and os.path.isfile(imported):
        return Origin("cache", imported, "it was downloaded or imported before")
    return Origin("download", None, "no local copy is named")


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise DataError(f"{path}: no such user's home folder") from None


def load_dataset(data: Data) -> Dataset:
    """The images that ``data`` asks for. Raises DataError, in one line, if they cannot be had."""
    spec, origin = DATASETS[data.name], find_origin(data)
    if spec.load is not None:
        dataset = spec.load()
        return dataset if data.held_out is None else dataset.hold_out(data.held_out)
    folder = cache_folder()
    if folder is None:
        warn(f"no home folder to cache images in, so they will be decoded again next time; {_OWN_CACHE}")
    if origin.kind == "built-in":
        file = folder and folder / f"shapes-v{SHAPES_VERSION}-{data.seed}.npz"
        dataset = _through_cache(spec, file, lambda: draw_shapes(seed=data.seed))
    elif origin.kind == "local":
        assert origin.path is not None
        dataset = _read_local(spec, origin.path)
    else:
        dataset = _through_cache(spec, imported_file(spec), lambda: _download(spec))
    return dataset if data.held_out is None else dataset.hold_out(data.held_out)


def import_copy(spec: DatasetSpec, path: Path) -> Dataset:
    """Decode the copy at ``path`` into the cache, to be used from now on wherever none is named.

    Raises DataError if it is known not to be the genuine data set, or the cache cannot be written to.
    """
    if spec.download is None:
        raise DataError(f"{path}: {spec.title} are not imported; name them with data.path (or --data)")
    dataset = read_local_copy(spec, path, _Progress(f"decoding {path.name}"))
    if spec.fingerprints and not dataset.genuine:
        raise DataError(f"{genuineness(dataset)}; not imported. To train on it all the same: --data {path}")
    file = imported_file(spec)
    if file is None or not write_cache(dataset, file):
        raise DataError(f"{file or path.name}: cannot be written to the cache; {_OWN_CACHE}")
    return dataset


def genuineness(dataset: Dataset) -> str:
    """One line on whether the images are what their name says."""
    spec, train, test = dataset.spec, dataset.train, dataset.test
    if dataset.held_out:
        return (
            f"evaluated on {dataset.held_out:,} of the {len(train) + dataset.held_out:,} training images of "
            f"{dataset.source}, which are held out; the test images are not used"
        )
    short = f"train {train.fingerprint[:12]}, test {test.fingerprint[:12]}"
    if spec.drawn:
        return f"built-in images ({short})"
    counts = f"{len(train):,} training and {len(test):,} test images"
    if spec.fingerprints is None:
        published = f": whether it is the genuine {spec.title} is not known" if spec.official else ""
        return f"{dataset.source}: {counts} in {len(dataset.classes)} classes ({short}){published}"
    if dataset.genuine:
        return f"genuine {spec.title} ({counts})"
    differing = [
        f"{name} is {split.fingerprint}, genuine is {spec.fingerprints[name]}"
        for name, split in (("train", train), ("test", test))
        if split.fingerprint != spec.fingerprints[name]
    ]
    return f"WARNING: {dataset.source}: not the genuine {spec.title}: " + "; ".join(differing)


def _read_local(spec: DatasetSpec, path: Path) -> Dataset:
    with one_line(str(path)):
        file = cache_file(spec.name, path) if path.exists() else None
    return _through_cache(spec, file, lambda: read_local_copy(spec, path, _Progress(f"decoding {path.name}")))


def _through_cache(spec: DatasetSpec, file: Path | None, make: Callable[[], Dataset]) -> Dataset:
    """The data set in the cache ``file``; if there is none, what ``make`` makes, which is then kept there."""
    if file is None:
        return make()
    dataset = read_cache(file)
    if dataset and dataset.name == spec.name and spec.classes in (None, dataset.classes):
        return dataset
    dataset = make()
    if not write_cache(dataset, file):
        warn(f"{file.parent} cannot be written, so the images will be decoded again next time; {_OWN_CACHE}")
    return dataset


def _download(spec: DatasetSpec) -> Dataset:
    import torchvision.datasets

    assert spec.download
    try:
        with _scratch_folder() as folder:
            getattr(torchvision.datasets, spec.download)(root=str(folder), train=True, download=True)
            dataset = read_local_copy(spec, folder, _Progress(f"decoding {spec.title}"))
    except (URLError, HTTPException, OSError, RuntimeError) as error:
        reason = why(error.reason) if isinstance(error, URLError) and isinstance(error.reason, OSError) else why(error)
        raise DataError(
            f"{spec.title} could not be downloaded ({reason}): set {ENVIRONMENT_VARIABLE} (or --data) to a copy of it "
            f"({known_layouts(spec)}), or run `make quickstart`, which needs no download"
        ) from None
    return replace(dataset, source="the official download")


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A folder of this process's own, in the cache folder if that can be written to."""
    cache = cache_folder()
    try:
        if cache:
            cache.mkdir(parents=True, exist_ok=True)
        own = tempfile.TemporaryDirectory(dir=cache, prefix="download-")
    except OSError:
        own = tempfile.TemporaryDirectory(prefix="download-")
    with own as name:
        yield Path(name)


class _Progress:
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
