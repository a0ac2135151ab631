"""Recipes in an older shape are read as what they meant."""

from pathlib import Path

import pytest

from airbench.recipe import dump_recipe, load_recipe
from airbench.recipe.groups import Rescale
from airbench.recipe.moved import MOVED, move_settings
from airbench.recipe.source import parse_yaml
from airbench.recipe.transforms import ColorJitter, Cutout, Flip, Translate
from tests.conftest import CONFIGS

MUON = CONFIGS / "records" / "airbench94_muon.yaml"
RECORDS = CONFIGS.parent / "runs" / "records"


@pytest.mark.parametrize("recipe", sorted(RECORDS.glob("*/recipe.yaml")), ids=lambda p: p.parent.name)
def test_recipes_of_kept_runs_load_and_load_again_as_they_are(recipe: Path, tmp_path: Path) -> None:
    loaded = load_recipe(recipe)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(loaded.recipe))
    again = load_recipe(tmp_path / "recipe.yaml")
    assert again.recipe == loaded.recipe
    assert again.moved == ()


def test_every_moved_setting_arrives() -> None:
    old = (
        "device: cpu\nprecision: fp32\nthreads: 2\n"
        "train: {compile: default, save: both, epochs: 3}\nnet: {fused: false, winograd: 2}\n"
        "data: {augment: {flip: random, translate: 3, cutout: 4, brightness: 0.1, contrast: 0.2}}\n"
        "optimizers: {all: {params: '*', name: muon, lr: 0.1, renormalize_every: 2, renormalize_growth: 15}}\n"
    )
    path = Path("unused")
    root, moved = move_settings(parse_yaml(old, str(path)))
    assert len(moved) == len(MOVED) - 1  # there is no cuda_graph in it
    plain = root.plain()
    assert plain["engine"] == {
        "device": "cpu", "precision": "fp32", "threads": 2, "compile": "default", "fused": False, "winograd": 2,
        "save": "both",
    }  # fmt: skip
    assert plain["train"] == {"epochs": 3}
    assert "net" not in plain
    assert plain["optimizers"]["all"]["rescale"] == {"every": 2, "growth": 15}


def test_old_settings_on_the_command_line_and_in_a_child_are_understood(tmp_path: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text(f"extends: {MUON}\nthreads: 3\noptimizers: {{filters: {{renormalize_every: 0}}}}\n")
    loaded = load_recipe(child, ["device=cpu", "data.augment.brightness=0.3", "data.augment.cutout=5"])
    assert loaded.recipe.engine.device == "cpu"
    assert loaded.recipe.engine.threads == 3
    assert loaded.recipe.optimizers["filters"].rescale is None
    assert loaded.recipe.data.augment == {
        "flip": Flip(kind="alternating"), "translate": Translate(pixels=2), "color_jitter": ColorJitter(brightness=0.3),
        "cutout": Cutout(size=5),
    }  # fmt: skip
    assert ("device", "engine.device") in loaded.moved


def test_never_rescaled_is_null_and_always_is_every_step() -> None:
    always = load_recipe(MUON, ["optimizers.filters.renormalize_every=1"]).recipe
    assert always.optimizers["filters"].rescale == Rescale(every=1)
    never = load_recipe(MUON, ["optimizers.filters.renormalize_every=0"]).recipe
    assert never.optimizers["filters"].rescale is None


def test_a_setting_in_both_shapes_is_an_error(tmp_path: Path) -> None:
    both = tmp_path / "both.yaml"
    both.write_text(f"extends: {MUON}\ndevice: cpu\nengine: {{device: cuda}}\n")
    with pytest.raises(Exception, match=r"both.yaml:2: device = \"cpu\": unknown key"):
        load_recipe(both)
