"""Small images, a small net, and a cache that is nobody's."""

import os
import pickle
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import settings

from airbench.data.dataset import Dataset
from airbench.data.shapes import draw_shapes
from airbench.device import Machine
from airbench.recipe import LoadedRecipe, load_recipe
from airbench.training.loop import run_trial
from tests import nullgpu

if "PYTEST_XDIST_WORKER" in os.environ:  # a test process per core: more threads than cores are slow
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

# Machines differ, and CI's are shared: no deadline. What is drawn is the same each time, but for
# --hypothesis-profile=fresh.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("fresh", deadline=None)
settings.load_profile("same")

CONFIGS = Path(__file__).parent.parent / "configs"

TINY = (
    "data.name=shapes",
    "engine.device=cpu",
    "engine.precision=fp32",
    "net.widths=[4, 8, 8]",
    "net.whiten.images=100",
    "train.batch_size=50",
    "train.epochs=2",
    "evaluate.batch_size=64",
    "train.stall_epochs=99",
    "net.head.scale=0.125",
)

SMALL = {"resnet18": ("net.width=4",), "vit": ("net.width=8", "net.depth=2", "net.heads=2")}
"""What makes the other nets small."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tests neither read nor fill the user's cache, and see no local copy that the user named."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("AIRBENCH_CACHE", str(folder))
    monkeypatch.delenv("AIRBENCH_DATA", raising=False)
    return folder


@pytest.fixture(scope="session")
def small_shapes() -> Dataset:
    return draw_shapes(train_images=400, test_images=100)


@pytest.fixture
def few_shapes(small_shapes: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Make the built-in dataset small wherever it is loaded."""
    monkeypatch.setattr("airbench.data.sources.draw_shapes", lambda seed: small_shapes)
    return small_shapes


@pytest.fixture
def cpu() -> Machine:
    return Machine(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def null_gpu() -> ModuleType:
    """The package ``tests.nullgpu``, where a GPU that computes nothing can be had; else the test is skipped."""
    try:
        nullgpu.build()
    except nullgpu.UnavailableError as reason:
        pytest.skip(str(reason))
    return nullgpu


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small copy of CIFAR-10: 5,000 training images and 1,000 test images of noise."""
    folder = tmp_path_factory.mktemp("null_gpu")
    copy = folder / "cifar-10-batches-py"
    copy.mkdir()
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        images = rng.integers(0, 256, (1000, 3072), dtype=np.uint8)
        (copy / name).write_bytes(pickle.dumps({b"data": images, b"labels": list(range(10)) * 100}))
    return folder


def tiny(config: str | Path = "airbench94_muon.yaml", *overrides: str) -> LoadedRecipe:
    """A shipped recipe, shrunk until it trains in a second."""
    words, net = list(TINY), load_recipe(config).recipe.net.name
    if net in SMALL:
        words = [*(word for word in TINY if not word.startswith("net.")), *SMALL[net]]
    return load_recipe(config, [*words, *overrides])


def interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Let Ctrl-C come as a trial begins, by its number from 1."""
    calls = [0]

    def counting(*arguments: object) -> object:
        calls[0] += 1
        if calls[0] == call:
            raise KeyboardInterrupt
        return run_trial(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("airbench.experiment.worker.run_trial", counting)
