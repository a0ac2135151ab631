"""A sweep in a report: all that came out of it, on a page and in Markdown; its runs are not listed as runs."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
import yaml

from airbench.analysis.report.html import html_report
from airbench.analysis.report.tables import markdown_report
from airbench.cli import main
from airbench.errors import AirbenchError
from airbench.recipe import load_recipe
from airbench.recipe.source import short_names
from airbench.sweep import folder, telescope
from airbench.sweep.axes import Setting, label
from airbench.sweep.folder import BEST, PLAN, Sweep, find_sweep_folders
from airbench.sweep.report import SHOWN, sweep_section
from airbench.sweep.results import best_recipe, winner, write_best
from airbench.sweep.telescope import Telescope
from airbench.sweep.telescope_figure import FIGURE, draw_telescope
from tests.analysis.fake_runs import fake_run
from tests.analysis.pages import check_page
from tests.sweep.fake_sweeps import RECIPE, fake_sweep

LR, SMOOTHING = "optimizers.filters.lr", "train.label_smoothing"
AXES = [f"{LR}=0.05..0.8:log", f"{SMOOTHING}=0,0.2", "net.activation=gelu,silu"]
AGAIN = [0.9241, 0.9262, 0.9233, 0.9251]


def accuracies(setting: Setting) -> list[float]:
    """Best near a learning rate of 0.2; label smoothing helps, the activation hardly matters."""
    far = abs(float(setting[LR]) - 0.2)
    mean = 0.92 - 0.02 * far + 0.01 * (setting[SMOOTHING] == "0.2") + 0.0001 * (setting["net.activation"] == "silu")
    return [round(mean + 0.001, 4), round(mean - 0.001, 4)]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    path = tmp_path_factory.mktemp("sweep") / "20260101-120000-sweep-airbench94_muon"
    return fake_sweep(path, AXES, accuracies, count=18, again=AGAIN)


Form = Callable[[Path], str]


def as_page(path: Path) -> str:
    page = html_report([], [sweep_section(path)])
    check_page(page)
    return unescape(page)


def as_markdown(path: Path) -> str:
    return markdown_report([], [sweep_section(path)])


@pytest.mark.parametrize("form", [as_page, as_markdown])
def test_a_sweep_holds_all_that_came_out_of_it(form: Form, sweep: Sweep) -> None:
    text = form(sweep.path)
    first = winner(sweep)
    assert label(sweep.settings[first]) in text
    assert "92.47%" in text  # mean of AGAIN
    assert re.search(r"95% interval 92\.\d\d% to 92\.\d\d%, jointly for the 2 trained again, 4 fresh trials", text)
    assert "The best setting cannot be told from" in text or "The best setting is better than" in text
    assert "18 settings" in text
    assert "5,000 held-out training images" in text
    assert "robust regression on 18 settings" in text
    assert re.search(r"\b44\b", text)  # 18 × 2 trials of the search, 2 × 4 fresh ones
    assert "PFLOP" in text
    assert best_recipe(sweep, first).rstrip() in text
    for axis in AXES:
        assert axis.partition("=")[0] in text


def test_the_page_has_a_figure_for_each_axis_and_one_for_two_and_every_setting(sweep: Sweep) -> None:
    page = as_page(sweep.path)
    titles = [f"Accuracy against {name}" for name in short_names(sweep.settings[0]).values()]
    for title in [*titles, "The two axes that matter most"]:
        assert page.count(f"<h3>{title}</h3>") == 1
    shown, folded = page.split("<summary>The other 8</summary>")
    for setting in sweep.settings:
        assert label(setting) in page
    assert shown.split("best of the search first")[1].count("<tr>") == SHOWN + 1
    assert folded.count("<tr>") == len(sweep.settings) - SHOWN + 1


def test_importance_is_on_the_page_and_in_markdown(sweep: Sweep) -> None:
    pytest.importorskip("optuna")
    assert "<h3>Importance</h3>" in as_page(sweep.path)
    assert "- importance, by Optuna: " in as_markdown(sweep.path)


def test_the_recipe_on_the_page_is_the_one_in_the_folder_and_loads(sweep: Sweep) -> None:
    write_best(sweep)
    shown = as_markdown(sweep.path).split("```yaml\n")[1].split("\n```")[0]
    assert shown == (sweep.path / BEST).read_text().rstrip()
    assert yaml.safe_load(shown)["extends"] == "recipe.yaml"
    loaded = load_recipe(sweep.path / BEST).recipe
    assert loaded.optimizers["filters"].lr == float(sweep.settings[winner(sweep)][LR])
    assert loaded.data.held_out is None


def test_a_best_setting_that_was_not_trained_again_is_not_praised(tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    fake_sweep(path, [f"{LR}=0.1,0.2,0.4"], lambda setting: [0.9 + float(setting[LR]) / 100], on_test=True)
    for text in (as_page(path), as_markdown(path)):
        assert "in the search, 1 trial; not trained again" in text
        assert "biased upwards" in text
        assert "judged on the test images" in text
        assert "two axes" not in text


@pytest.mark.parametrize("form", [as_page, as_markdown])
def test_fresh_trials_that_failed_are_counted_and_leave_no_interval(form: Form, tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    fake_sweep(path, [f"{LR}=0.1,0.2"], lambda s: [0.9 + float(s[LR]) / 100], again=[0.93, 0.931], failed=(1, 2))
    text = form(path)
    assert "93.05%" in text
    assert "2 fresh trials, 1 of 3 failed; no interval" in text
    assert "Of its fresh trials 1 of 3 failed, so it is compared with no other" in text
    assert "it is better than" not in text


def test_a_sweep_whose_best_are_still_being_trained_again_is_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    sweep = fake_sweep(path, [f"{LR}=0.1,0.2"], lambda s: [0.9 + float(s[LR]) / 100], again=[0.93, 0.931])
    for run in sweep.runs(folder.AGAIN).values():
        (run.path / "trials.jsonl").write_text("")
    with pytest.raises(AirbenchError, match=r"sweep: not finished; airbench sweep --resume"):
        sweep_section(path)
    assert winner(sweep) == 1  # by the search


# ------------------------------------------------------------------------------------------- telescopes

VALUES = ("[8, 16, 16]", "[16, 32, 32]")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Telescope:
    empty = Telescope(
        path=Path(), key="net.widths", values=VALUES, axes=(f"{LR}=0.05..0.8:log",), points=(5,), shrink=0.5,
        trials=2, seed=0, top=2, again=0, on_test=False,
    )  # fmt: skip
    made = telescope.create(tmp_path_factory.mktemp("telescope"), load_recipe(RECIPE), empty)
    for level in range(len(VALUES)):

        def found(setting: Setting, level: int = level) -> list[float]:
            return accuracies({SMOOTHING: "0", "net.activation": "gelu", **setting}) if level < 2 else []

        fake_sweep(made.level_path(level), [f"{LR}=0.05..0.8:log:5"], found)
    return made


def test_a_telescope_whose_optimum_is_unknown_is_drawn_without_it(plan: Telescope) -> None:
    """A level may have fewer than three values."""
    levels = [folder.read(plan.level_path(level)) for level in range(len(VALUES))]
    draw_telescope(plan, levels, {})
    assert (plan.path / FIGURE).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("form", [as_page, as_markdown])
def test_a_telescope_shows_where_the_optimum_is_at_each_level(form: Form, plan: Telescope) -> None:
    text = form(plan.path)
    assert "Telescope of airbench94_muon over net.widths" in text
    for value in VALUES:
        assert value in text
    assert f"The best {LR} is not shown to move:" in text
    assert f"The last level, net.widths={VALUES[-1]}" in text
    assert "20 trials" in text or "finished trials: 20" in text  # of both levels
    assert "extends: recipe.yaml" in text


def test_the_page_of_a_telescope_has_two_figures_for_each_axis(plan: Telescope) -> None:
    page = as_page(plan.path)
    assert page.count("<figure>") == 3  # and one of the last level
    assert "<h3>How the best lr moves</h3>" in page


def test_a_telescope_whose_levels_are_not_all_there_says_how_to_go_on(plan: Telescope, tmp_path: Path) -> None:
    (tmp_path / "telescope.json").write_text((plan.path / "telescope.json").read_text())
    with pytest.raises(AirbenchError, match="level 1 was not begun; airbench sweep --resume"):
        sweep_section(tmp_path)


# ------------------------------------------------------------------------------------------- the command


def test_runs_and_sweeps_mix_and_runs_of_settings_are_not_listed(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fake_run(tmp_path / "run", [0.94, 0.941])
    out = tmp_path / "report.html"
    assert main(["report", str(run.path), str(sweep.path), "--out", str(out)]) == 0
    page = out.read_text()
    check_page(page)
    leaderboard, rest = page.split("<h2")[1:3]
    assert "airbench94_muon" in leaderboard
    assert "setting-0" not in page
    assert "Sweep of airbench94_muon" in rest
    assert capsys.readouterr().out.endswith("1 run, 2 trials; a sweep of 18 settings\n")


def test_without_names_all_runs_and_sweeps_are_reported_and_unfinished_ones_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_run(tmp_path / "runs" / "one", [0.94, 0.941])
    fake_sweep(tmp_path / "runs" / "whole", [f"{LR}=0.1,0.2,0.4"], lambda s: [0.9 + float(s[LR]) / 100])
    begun = fake_sweep(tmp_path / "runs" / "begun", [f"{LR}=0.1,0.2"], lambda s: [0.9 + float(s[LR]) / 100])
    (begun.path / "search" / "20260101-000000-setting-0001").rename(tmp_path / "elsewhere")
    assert [path.name for path in find_sweep_folders(Path("runs"))] == ["whole", "begun"]
    assert main(["report", "--out", "all.md"]) == 0
    said = capsys.readouterr()
    assert "begun: not finished; airbench sweep --resume" in said.err
    assert said.out == "all.md: 1 run, 2 trials; a sweep of 3 settings\n"
    assert "setting-0" not in Path("all.md").read_text()
    assert main(["report", "--out", "all.csv"]) == 0
    assert len(Path("all.csv").read_text().splitlines()) == 2
    assert main(["report", "runs/begun"]) == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [(["--format", "csv"], "a sweep is part of a report as html or md, not as csv"), (["SWEEP"], "is named twice")],
)
def test_what_cannot_be_reported_is_answered_in_one_line(
    words: list[str], why: str, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    named = [str(sweep.path) if word == "SWEEP" else word for word in words]
    assert main(["report", str(sweep.path), *named]) == 2
    assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert (sweep.path / PLAN).is_file()


def test_links_are_followed_and_each_sweep_is_found_once(tmp_path: Path) -> None:
    fake_sweep(tmp_path / "elsewhere" / "one", [f"{LR}=0.1,0.2"], lambda s: [0.9 + float(s[LR]) / 100])
    runs = tmp_path / "runs"
    runs.mkdir()
    for name, to in (("one", "../elsewhere/one"), ("again", "../elsewhere/one"), ("self", "."), ("up", "..")):
        (runs / name).symlink_to(to)
    assert len(find_sweep_folders(runs)) == 1
