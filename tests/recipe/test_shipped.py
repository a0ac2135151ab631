"""Shipped recipes are found by name."""

import re
from pathlib import Path

import pytest

from airbench.cli import main
from airbench.errors import RecipeError
from airbench.recipe import load_recipe
from airbench.recipe.shipped import find_shipped, locate, shipped_recipes, shipped_sweeps
from tests.conftest import CONFIGS


def test_names_are_unique() -> None:
    assert len(shipped_recipes()) + len(shipped_sweeps()) == len(list(CONFIGS.rglob("*.yaml")))
    assert not set(shipped_recipes()) & set(shipped_sweeps())


@pytest.mark.parametrize("name", ["airbench94_muon", "airbench94_muon.yaml"])
def test_a_recipe_is_found_by_name_from_anywhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe(name) == load_recipe(CONFIGS / "records" / "airbench94_muon.yaml")


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hiverge.yaml").write_text("extends: airbench94_muon\ntarget: 0.5\n")
    assert load_recipe("hiverge.yaml").recipe.target == 0.5
    assert load_recipe("hiverge").recipe.target == 0.94
    (tmp_path / "speedrun").mkdir()
    assert load_recipe("speedrun").recipe.name == "speedrun"


def test_paths_are_shown_as_users_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    assert locate("hiverge") == Path("configs/records/hiverge.yaml")
    assert find_shipped("elsewhere/hiverge") is None
    assert find_shipped("./hiverge.yaml") is None
    assert find_shipped("../records/hiverge") is None


@pytest.mark.parametrize("name", ["muon", "vit/muon", "vit/muon.yaml"])
def test_a_name_may_begin_with_the_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    assert locate(name) == Path("configs/vit/muon.yaml")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("airbench94_moun", "airbench94_muon"), ("configs/vit/moun.yaml", "configs/vit/muon.yaml"), ("zzz", None)],
)
def test_a_mistyped_name_is_answered_with_the_nearest(
    typed: str, meant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    hint = "airbench recipes lists" if meant is None else f"did you mean {re.escape(meant)}\\?"
    with pytest.raises(RecipeError, match=f"no such file; {hint}"):
        load_recipe(typed)


def test_a_path_that_is_out_of_date_is_answered_with_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    with pytest.raises(RecipeError, match=r"no such file; did you mean configs/records/hiverge\.yaml\?"):
        load_recipe("configs/hiverge.yaml")


def test_recipes_lists_each_with_its_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in shipped_recipes())
