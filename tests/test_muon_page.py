"""What the page on Muon says works: its commands are understood, and its recipes load and train."""

import re
import shlex
from pathlib import Path

import pytest

from airbench.cli import build_parser
from airbench.data.dataset import Dataset
from airbench.device import Machine
from airbench.recipe import load_recipe
from airbench.training.setup import TrialSetup
from airbench.training.warmup import warm_up
from tests.conftest import CONFIGS, tiny

PAGE = (CONFIGS.parent / "airbench" / "docs" / "muon.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
RECIPES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_page(command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "airbench"
    options = build_parser().parse_args(words)
    for word in options.items:
        assert "=" in word or (CONFIGS.parent / word).is_file()


@pytest.mark.parametrize("text", RECIPES, ids=["split", "qk_clip"])
def test_recipe_of_the_page(text: str, tmp_path: Path, small_shapes: Dataset, cpu: Machine) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    warm_up(TrialSetup(tiny(tmp_path / "mine.yaml").recipe, small_shapes, cpu))


def test_the_page_names_every_setting_and_parameter_of_the_net() -> None:
    recipe = load_recipe("muon").recipe
    for name in type(recipe.net).model_fields:
        assert f"`{name}`" in PAGE or name == "name"
    for group in recipe.optimizers.values():
        for pattern in (group.params,) if isinstance(group.params, str) else group.params:
            assert f"`{pattern}`" in PAGE
