"""A sweep in a file says the same as one on the command line, and what does not fit is answered in one line."""

from datetime import datetime, tzinfo
from pathlib import Path

import pytest

from airbench.cli import main
from airbench.errors import AirbenchError, RecipeError
from airbench.recipe import load_recipe
from airbench.recipe.shipped import shipped_recipes, shipped_sweeps
from airbench.sweep.axes import parse_axis, settings
from airbench.sweep.config import is_sweep, load_sweep
from airbench.sweep.folder import Sweep, create, read
from airbench.sweep.telescope import Telescope, recipes

SWEEP = """
recipe: airbench94_muon
overrides: [train.epochs=1]
axes:
  optimizers.filters.lr: 0.1..0.4:log:3
  net.widths: [[8, 16, 16], [16, 32, 32]]
  optimizers.filters.schedule: [{name: constant}, {name: linear, end: 0.1}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(SWEEP)
    return file


def test_axes_of_a_file_are_those_of_the_command_line(file: Path) -> None:
    config = load_sweep(str(file))
    axes = [parse_axis(word) for word in config.axis_words()]
    assert axes[0].grid() == ["0.1", "0.2", "0.4"]
    assert axes[1].grid() == ["[8, 16, 16]", "[16, 32, 32]"]
    assert axes[2].grid() == ["{name: constant}", "{name: linear, end: 0.1}"]


def test_a_recipe_beside_the_file_is_found(file: Path) -> None:
    beside = file.parent / "own.yaml"
    beside.write_text("extends: airbench94_muon\n")
    file.write_text(SWEEP.replace("airbench94_muon", "own.yaml"))
    assert load_sweep(str(file)).recipe == str(beside)


def test_a_recipe_is_no_sweep(file: Path) -> None:
    assert is_sweep(str(file))
    assert not is_sweep("airbench94_muon")
    assert not is_sweep("nothing-of-that-name")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("method: tpe", "needs the number of settings: settings = 12"),
        ("settings: 5", "settings belongs to method = random or tpe"),
        ("trial: 5", r"mine\.yaml:\d+: trial = 5: unknown key; did you mean 'trials'"),
        ("overrides: [speedrun]", "overrides"),
        ("top: two", r"mine\.yaml:\d+: top = \"two\""),
        ("{on_test: true, held_out: 5}", "on_test judges on the test images"),
        ("telescope: {key: net.widths, values: [1]}", "telescope.values"),
    ],
)
def test_what_does_not_fit_is_answered_in_one_line(file: Path, change: str, why: str) -> None:
    extra = change.strip("{}").replace(", ", "\n") if change.startswith("{") else change
    file.write_text(f"{SWEEP}{extra}\n")
    with pytest.raises(RecipeError, match=why) as raised:
        load_sweep(str(file))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("axis", "why"),
    [
        ("optimizers.filters.lr: 0.4..0.1", "axes.optimizers.filters.lr = 0.4..0.1: the range goes from low to high"),
        ("optimizers.filters.lr: 0.1..0.4", "axes.optimizers.filters.lr: a grid needs to know how many values"),
        ("optimizers.filters.lr: [0.1]", "axes.optimizers.filters.lr = 0.1: give two or more different values"),
        ("optimizers.filters.lrr: [0.1, 0.2]", "optimizers.filters.lrr = 0.1: unknown key; did you mean 'lr'?"),
        ("optimizers.filters.lr: [0.1, fast]", 'optimizers.filters.lr = "fast": '),
        ("train: [{epochs: 1}, {epoch: 2}]", "train.epoch = 2: unknown key; did you mean 'epochs'?"),
        ("train.batch_size: 1..9999:int:9999", "axes.train.batch_size: with the others a grid of "),
    ],
)
def test_an_axis_that_does_not_fit_is_told_by_file_and_line(
    axis: str, why: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"recipe: airbench94_muon\naxes:\n  {axis}\n  net.widths: [[8, 16, 16], [16, 32, 32]]\n")
    for words in (["--plan"], ["--out", str(file.parent / "runs"), "--held-out", "10"]):
        assert main(["sweep", str(file), *words]) == 2
        assert capsys.readouterr().err.startswith(f"airbench: {file}:3: {why}")
    assert not (file.parent / "runs").exists()
    assert main(["sweep", str(file), "--plan", "--axis", "train.epoch=1,2"]) == 2  # instead of the file's axes
    assert capsys.readouterr().err.startswith("airbench: command line: train.epoch = 1: unknown key")


def test_what_a_telescope_cannot_narrow_is_told_by_file_and_line(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    telescope = "telescope: {key: net.widths, values: [[8, 8, 8], [16, 16, 16]]}\nheld_out: 10\n"
    for line, why in (
        ("train.epochs: [4, 8]", "axes.train.epochs: a telescope narrows ranges; write low..high:log, not a list"),
        ("optimizers.head.lrr: 0.1..0.4:log", "optimizers.head.lrr = 0.1: unknown key; did you mean 'lr'?"),
    ):
        file.write_text(f"recipe: airbench94_muon\n{telescope}axes:\n  {line}\n")
        for words in (["--plan"], ["--out", str(file.parent / "runs")]):
            assert main(["sweep", str(file), *words]) == 2
            assert capsys.readouterr().err.startswith(f"airbench: {file}:5: {why}")
    assert not (file.parent / "runs").exists()


def test_overrides_of_a_file_are_answered_by_its_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for override, why in (
        ("train.epoch=1", "train.epoch = 1: unknown key; did you mean 'epochs'?"),
        ("train.epochs=-1", "train.epochs = -1:"),
        ("train.epochs=[", "train.epochs=[: not valid YAML"),
    ):
        file.write_text(
            "recipe: airbench94_muon\noverrides:\n- data.held_out=10\n"
            f'- "{override}"\naxes: {{optimizers.filters.lr: [0.1, 0.2]}}\n'
        )
        for words in ([], ["--axis", "optimizers.filters.lr=0.3,0.4"]):
            assert main(["sweep", str(file), "--plan", *words]) == 2
            assert capsys.readouterr().err.startswith(f"airbench: {file}:4: {why}")


def test_a_plan_checks_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "airbench94_muon", "--axis", "optimizers.filters.lrr=1,2", "--plan"]) == 2
    assert "optimizers.filters.lrr = 1: unknown key; did you mean 'lr'?" in capsys.readouterr().err
    assert main(["sweep", "airbench94_mu", "--axis", "optimizers.filters.lr=1,2", "--plan"]) == 2
    assert "airbench94_mu" in capsys.readouterr().err


def test_searches_that_begin_in_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2026, 1, 1, tzinfo=tz)

    monkeypatch.setattr("airbench.sweep.folder.datetime", Clock)
    loaded = load_recipe("airbench94_muon")
    plan = Sweep(Path(), ({"train.epochs": "1"}, {"train.epochs": "2"}), 1, 0, 1, 0, False, ("train.epochs=1,2",))
    made = [create(tmp_path, loaded, plan) for _ in range(3)]
    assert len({sweep.path for sweep in made}) == 3
    assert [read(sweep.path) for sweep in made] == made


def test_the_command_line_overrides_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text().replace("train.epochs=1", "data.name=shapes, data.held_out=50"))
    assert main(["sweep", str(file), "--plan", "--trials", "3"]) == 0
    assert "12 settings × 3 trials, then 2 × 3" in capsys.readouterr().out
    assert main(["sweep", str(file), "--plan", "--axis", "train.epochs=1,2", "--random", "2"]) == 0
    assert "2 settings × 1 trial" in capsys.readouterr().out


def test_words_that_contradict_are_answered(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, why in (
        (["--on-test", "--held-out", "5"], "give one of them"),
        (["--points", "3"], "--points and --shrink belong to --telescope"),
        (["--telescope", "net.widths"], "write KEY=a,b"),
        (["--axis", "a=1,2", "--axis", "a=3,4"], "a is given twice"),
        (["--axis", "a.lr=1..2", "--axis", "a,b.lr=1..2", "--tpe", "2"], "a.lr is given twice"),
    ):
        assert main(["sweep", str(file), *words]) == 2
        assert why in capsys.readouterr().err


@pytest.mark.parametrize("name", shipped_sweeps())
def test_shipped_sweeps_fit_their_recipes(name: str) -> None:
    assert name not in shipped_recipes()
    config = load_sweep(name)
    assert config.description
    loaded = load_recipe(config.recipe, config.overrides)
    axes = [parse_axis(word) for word in config.axis_words()]
    if config.telescope is not None:
        t = config.telescope
        plan = Telescope(
            Path(),
            t.key,
            tuple(map(str, t.values)),
            tuple(config.axis_words()),
            tuple(t.points),
            t.shrink,
            1,
            0,
            1,
            0,
            False,
        )
        assert len(recipes(plan, loaded)) == len(t.values)
        axes = plan.axes_at(0, {})
    for setting in settings(axes, config.settings, 0):
        load_recipe(config.recipe, [*config.overrides, *(f"{key}={value}" for key, value in setting.items())])


def test_whole_numbers() -> None:
    axis = parse_axis("train.batch_size=100..1000:log:int:4")
    assert axis.grid() == ["100", "215", "464", "1000"]
    assert parse_axis(str(axis)) == axis
    with pytest.raises(AirbenchError, match="write KEY=a,b,c"):
        parse_axis("train.batch_size")
