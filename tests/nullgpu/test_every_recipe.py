"""Every shipped recipe is trained on the null GPU, in every way to execute steps."""

from pathlib import Path
from types import ModuleType

import pytest

from airbench.recipe.shipped import shipped_recipes
from tests.nullgpu.budget import WAYS, measured


@pytest.mark.parametrize("way", [pytest.param(way, marks=pytest.mark.slow) if "compiled" in way or way == "default"
                                 else way for way in WAYS])  # fmt: skip
def test_every_shipped_recipe_trains_in_every_way(way: str, null_gpu: ModuleType, workshop: Path) -> None:
    recipes = [str(path) for path in shipped_recipes().values()]
    images = ("data.name=cifar10", "--data", str(workshop / "cifar-10-batches-py"))
    out = workshop / f"every-{way}"
    words = ("train.epochs=1", "--device", "cuda", "--out", str(out))
    commands = [("train", recipe, *images, *WAYS[way], *words) for recipe in recipes]
    for recipe, report in zip(recipes, measured(workshop, *commands, timeout=3600), strict=True):
        refused = "engine.cuda_graph cannot capture" in report.output
        assert report.code == (2 if refused else 0), f"{recipe}: {report.output}"
        assert report.counters.violations == 0
    assert len(list(out.glob("*/summary.json"))) > 0.8 * len(recipes)
