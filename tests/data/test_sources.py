"""Where images come from, the cache between, and what is said when they cannot be had."""

import multiprocessing
import os
import time
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from airbench.data import sources
from airbench.data.cache import cache_file, read_cache, write_cache
from airbench.data.catalog import DatasetSpec
from airbench.data.dataset import Dataset
from airbench.errors import DataError
from airbench.recipe.data import DATASETS, Data
from tests.data import copies
from tests.data.copies import CIFAR100, write_batches, write_pngs, write_tensors

CIFAR10 = DATASETS["cifar10"]


def imported(name: str = "cifar10") -> Path:
    file = sources.imported_file(DATASETS[name])
    assert file
    return file


def cached(path: Path, name: str = "cifar10") -> Path:
    file = cache_file(name, path)
    assert file
    return file


def test_order_of_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources.find_origin(Data()).kind == "download"
    imported().write_bytes(b"x")
    assert sources.find_origin(Data()).kind == "cache"
    monkeypatch.setenv("AIRBENCH_DATA", "/env")
    assert sources.find_origin(Data()).path == Path("/env")
    assert sources.find_origin(Data(path="/recipe")).path == Path("/recipe")
    assert sources.find_origin(Data(name="shapes")).kind == "built-in"


def test_a_path_is_refused_where_a_plugin_loads_the_images(small_shapes: Dataset) -> None:
    DATASETS.add("mine", DatasetSpec("mine", "my images", load=lambda: small_shapes))
    try:
        assert len(sources.load_dataset(Data(name="mine", held_out=10)).test) == 10
        with pytest.raises(DataError, match=r"data\.path = /x: no effect on data\.name = mine, whose images a plugin"):
            sources.load_dataset(Data(name="mine", path="/x"))
    finally:
        DATASETS.remove("mine")


def test_second_read_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_pngs(tmp_path)
    first = sources.load_dataset(Data(path=str(root)))
    monkeypatch.setattr(sources, "read_local_copy", lambda *_: pytest.fail("decoded again"))
    second = sources.load_dataset(Data(path=str(root)))
    assert np.array_equal(first.train.images, second.train.images)
    assert (first.mean, first.std, first.classes) == (second.mean, second.std, second.classes)


def test_a_changed_copy_is_decoded_again(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    first = sources.load_dataset(Data(path=str(root)))
    next((root / "train" / "cat").iterdir()).unlink()
    os.utime(root / "train" / "cat", ns=(1, time.time_ns() + 10**9))
    second = sources.load_dataset(Data(path=str(root)))
    assert len(second.train) == len(first.train) - 1


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:3000] + b"\0\0\0" + b[3003:]]
)
def test_damaged_cache_is_made_anew(tmp_path: Path, damage: object) -> None:
    root = write_pngs(tmp_path)
    first = sources.load_dataset(Data(path=str(root)))
    file = cached(root)
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    assert read_cache(file) is None
    assert sources.load_dataset(Data(path=str(root))).train.fingerprint == first.train.fingerprint
    assert read_cache(file) is not None


def test_unwritable_cache_does_not_stop_anyone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("AIRBENCH_CACHE", str(blocked / "cache"))
    assert len(sources.load_dataset(Data(path=str(write_pngs(tmp_path)))).train) == 50


def test_full_disk_leaves_no_half_written_cache(
    tmp_path: Path, small_shapes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert not write_cache(small_shapes, tmp_path / "c.npz")
    assert list(tmp_path.iterdir()) == []


def _write(dataset: Dataset, file: Path) -> None:
    for _ in range(5):
        write_cache(dataset, file)


def test_two_processes_writing_at_once_leave_one_whole_cache(tmp_path: Path, small_shapes: Dataset) -> None:
    file = tmp_path / "c.npz"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(small_shapes, file)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    saved = read_cache(file)
    assert saved is not None
    assert saved.train.fingerprint == small_shapes.train.fingerprint
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


@pytest.mark.parametrize(
    "error", [URLError("Name or service not known"), OSError("disk"), RuntimeError("not found or\ncorrupted")]
)
def test_failed_download_says_what_to_do(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fail)
    with pytest.raises(DataError) as caught:
        sources.load_dataset(Data())
    message = str(caught.value)
    assert "\n" not in message
    for part in ("could not be downloaded", "AIRBENCH_DATA", "make quickstart"):
        assert part in message


@pytest.mark.parametrize("sample", [copies.CIFAR10, copies.CIFAR100], ids=lambda sample: sample.name)
def test_a_download_is_decoded_once(sample: copies.Sample, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    def download(root: str, **_: object) -> None:  # leaves the archive beside what was in it
        write_batches(Path(root), sample)
        copies.tarred(Path(root), Path(root) / sample.official.folder, sample.official.archive)

    name = DATASETS[sample.name].download
    monkeypatch.setattr(f"torchvision.datasets.{name}", download)
    first = sources.load_dataset(Data(name=sample.name))
    assert (len(first.train), first.source) == (len(sample.train[0]), "the official download")
    assert [file.name for file in own_cache.iterdir()] == [f"{sample.name}.npz"]
    monkeypatch.setattr(f"torchvision.datasets.{name}", None)
    assert sources.load_dataset(Data(name=sample.name)).train.fingerprint == first.train.fingerprint


def test_what_is_not_genuine_is_shown_with_both_fingerprints_and_not_imported(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    dataset = sources.load_dataset(Data(path=str(root)))
    text = sources.genuineness(dataset)
    assert text.startswith("WARNING")
    assert dataset.train.fingerprint in text
    assert (CIFAR10.fingerprints or {})["train"] in text
    with pytest.raises(DataError, match="not imported"):
        sources.import_copy(CIFAR10, root)
    assert not imported().exists()


@pytest.mark.parametrize("name", ["train.pt", "test.pt"])
def test_a_file_overwritten_in_place_is_decoded_again(tmp_path: Path, name: str) -> None:
    root = write_tensors(tmp_path)
    named = Data(path=str(root / "train.pt"))
    first = sources.load_dataset(named)
    saved = torch.load(root / name)
    saved["images"][0] ^= 255
    torch.save(saved, root / name)
    second = sources.load_dataset(named)
    split = name.removesuffix(".pt")
    assert getattr(first, split).fingerprint != getattr(second, split).fingerprint


def test_held_out_images_are_training_images_that_are_not_trained_on(few_shapes: Dataset) -> None:
    whole = sources.load_dataset(Data(name="shapes"))
    held = sources.load_dataset(Data(name="shapes", held_out=100))
    assert (len(held.train), len(held.test), held.held_out) == (300, 100, 100)
    together = np.concatenate([held.train.images, held.test.images])
    assert np.array_equal(together, whole.train.images)
    assert held.test.fingerprint not in (whole.test.fingerprint, whole.train.fingerprint)
    assert not held.genuine
    assert "evaluated on 100 of the 400 training images" in sources.genuineness(held)
    assert "the test images are not used" in sources.genuineness(held)


def test_too_many_held_out_images_are_refused(few_shapes: Dataset) -> None:
    with pytest.raises(DataError, match=r"data.held_out = 400: .* has 400 training images, and one at least"):
        sources.load_dataset(Data(name="shapes", held_out=400))


def test_cifar100_is_never_called_genuine(tmp_path: Path) -> None:
    dataset = sources.load_dataset(Data(name="cifar100", path=str(write_batches(tmp_path, CIFAR100))))
    assert not dataset.genuine
    text = sources.genuineness(dataset)
    assert "200 training and 100 test images in 100 classes" in text
    assert text.endswith("whether it is the genuine CIFAR-100 is not known")
    assert sources.import_copy(DATASETS["cifar100"], tmp_path).train.fingerprint == dataset.train.fingerprint
    assert sources.find_origin(Data(name="cifar100")).path == imported("cifar100")
    assert sources.find_origin(Data(name="cifar10")).kind == "download"


def test_one_copy_is_cached_for_each_name_apart(tmp_path: Path) -> None:
    root = write_pngs(tmp_path)
    named = sources.load_dataset(Data(path=str(root)))
    found = sources.load_dataset(Data(name="folder", path=str(root)))
    assert (named.name, found.name) == ("cifar10", "folder")
    assert named.train.fingerprint == found.train.fingerprint
    assert "genuine" not in sources.genuineness(found)
