"""Targets of the Makefile: the commands that they run, and what they say without their variables."""

import os
import subprocess
from collections.abc import Sequence

import pytest

from airbench.cli import build_parser, main
from airbench.cli.recipes import read_recipes
from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe
from airbench.runs import RunRecord
from tests.conftest import CONFIGS

ROOT = CONFIGS.parent


def make(*words: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": os.environ["PATH"]}  # no variables of the make that runs this suite
    return subprocess.run(["make", "-n", *words], cwd=ROOT, env=path, capture_output=True, text=True, check=False)


def last_command(*words: str) -> str:
    done = make(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_an_ablation_trains_one_recipe_at_several_values_of_a_setting() -> None:
    command = last_command("ablate", "RECIPE=airbench94_muon", "optimizers.filters.orthogonalize.steps=1,2,3")
    assert command.endswith(
        "train.py airbench94_muon --vary 'optimizers.filters.orthogonalize.steps=1,2,3' --trials 3 --seed 0 "
    )
    words = (
        "RECIPE=quickstart",
        "net.widths=[8, 8, 8],[16, 16, 16]",
        "TRIALS=2",
        "SEED=5",
        "ARGS=train.epochs=1 a.b=2",
    )
    assert last_command("ablate", *words).endswith(
        "train.py quickstart --vary 'net.widths=[8, 8, 8],[16, 16, 16]' --trials 2 --seed 5 train.epochs=1 a.b=2"
    )


def test_a_comparison_is_of_two_recipes_or_two_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    command = last_command("compare", "A=airbench94_muon", "B=airbench94")
    assert command.split()[1:] == ["compare", "airbench94_muon", "airbench94"]
    command = last_command("compare", "A=airbench94_muon", "B=airbench94", "TRIALS=5", "SEED=7")
    assert command.split()[-4:] == ["--trials", "5", "--seed", "7"]  # only where given: two runs take neither
    trained: list[str] = []

    def run_experiment(recipes: Sequence[LoadedRecipe], **how: object) -> list[RunRecord]:
        trained.extend(each.recipe.name for each in recipes)
        raise AirbenchError("no more")

    monkeypatch.setattr("airbench.experiment.run.run_experiment", run_experiment)
    assert main(command.split()[1:]) == 2
    assert trained == ["airbench94_muon", "airbench94"]


@pytest.mark.parametrize(
    "words",
    [
        ("ablate",),
        ("ablate", "RECIPE=airbench94_muon"),
        ("ablate", "train.epochs=1,2"),
        ("ablate", "RECIPE=airbench94_muon", "ARGS=train.epochs=1,2"),
        ("compare",),
        ("compare", "A=airbench94_muon"),
        ("compare", "B=airbench94_muon"),
    ],
)
def test_missing_variables_are_answered_in_one_line(words: tuple[str, ...]) -> None:
    done = make(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"make {words[0]} needs" in line
    assert f"as in: make {words[0]} " in line


def test_varied_recipes_are_named_after_the_value() -> None:
    words = ["train", "airbench94_muon", "train.epochs=2", "--vary", "optimizers.filters.orthogonalize.steps=1,3"]
    recipes = [each.recipe for each in read_recipes(build_parser().parse_args(words))]
    assert [recipe.name for recipe in recipes] == ["airbench94_muon-steps-1", "airbench94_muon-steps-3"]
    assert [recipe.optimizers["filters"].orthogonalize.steps for recipe in recipes] == [1, 3]  # type: ignore[attr-defined]
    assert {recipe.train.epochs for recipe in recipes} == {2}


def test_several_settings_make_a_grid() -> None:
    command = last_command("ablate", "RECIPE=quickstart", "train.epochs=1,2", "train.batch_size=50,100")
    assert "--vary 'train.batch_size=50,100' --vary 'train.epochs=1,2'" in command
    words = [
        "train",
        "airbench94_muon",
        "--vary",
        "optimizers.filters.lr=0.1,0.2",
        "--vary",
        "optimizers.head.lr=1,2,3",
    ]
    recipes = [each.recipe for each in read_recipes(build_parser().parse_args(words))]
    found = [(recipe.optimizers["filters"].lr, recipe.optimizers["head"].lr) for recipe in recipes]
    assert found == [(0.1, 1), (0.1, 2), (0.1, 3), (0.2, 1), (0.2, 2), (0.2, 3)]
    assert recipes[3].name == "airbench94_muon-filters.lr-0.2-head.lr-1"


@pytest.mark.parametrize("second", ["train.epochs=3,4", "train.epochs,stall_epochs=3,4"])
def test_a_setting_varies_once(second: str, capsys: pytest.CaptureFixture[str]) -> None:
    vary = ["--vary", "train.epochs=1,2", "--vary", second, "--vary", "train.batch_size=5,6"]
    assert main(["train", "quickstart", *vary]) == 2
    assert "--vary: train.epochs is given twice" in capsys.readouterr().err


def test_values_that_a_name_cannot_tell_apart_have_names_of_their_own() -> None:
    words = ["train", "quickstart", "--vary", "description=a b,a+b,a/b"]
    names = [each.recipe.name for each in read_recipes(build_parser().parse_args(words))]
    assert len(set(names)) == 3
    assert all(name.startswith("quickstart-description-a-b") for name in names)


@pytest.mark.parametrize("vary", ["train.epochs=4,4.0", "net.widths=[8,8,8],[8, 8, 8]"])
def test_one_setting_written_twice_is_answered(vary: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "quickstart", "--vary", vary]) == 2
    assert "are the same setting; leave one out" in capsys.readouterr().err


@pytest.mark.parametrize("vary", ["train.epochs", "train.epochs=4", "train.epochs=4,4", "train.epochs=4,", "=1,2"])
def test_what_varies_nothing_is_answered(vary: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "airbench94_muon", "--vary", vary]) == 2
    assert f"--vary {vary}: write KEY=a,b,c" in capsys.readouterr().err
    assert main(["train", "airbench94_muon", "--vary", "train.epoch=1,2"]) == 2
    assert "command line: train.epoch = 1: unknown key; did you mean 'epochs'?" in capsys.readouterr().err
