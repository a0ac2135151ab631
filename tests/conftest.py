"""Small images, a small net, and a cache that is nobody's."""

import os
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import settings

from airbench.data.dataset import Dataset
from airbench.data.shapes import draw_shapes
from airbench.device import Machine
from airbench.recipe import LoadedRecipe, load_recipe
from tests import nullgpu

if "PYTEST_XDIST_WORKER" in os.environ:  # a test process per core: more threads than cores are slow
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

settings.register_profile("no deadline", deadline=None)  # machines differ, and CI's are shared
settings.load_profile("no deadline")

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


def tiny(config: str | Path = "airbench94_muon.yaml", *overrides: str) -> LoadedRecipe:
    """A shipped recipe, shrunk until it trains in a second."""
    words = list(TINY)
    if load_recipe(config).recipe.net.name == "resnet18":
        words = [*(word for word in TINY if not word.startswith("net.")), "net.width=4"]
    return load_recipe(config, [*words, *overrides])
