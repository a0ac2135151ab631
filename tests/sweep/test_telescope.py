"""A telescope: levels narrow around the best, planted optima are found, and drift is told from noise."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.recipe import load_recipe
from airbench.sweep import telescope
from airbench.sweep.axes import parse_axis
from airbench.sweep.optimum import optimum
from airbench.sweep.results import winner
from airbench.sweep.telescope import Telescope, drift, drift_text
from tests.conftest import TINY

COMMAND = [
    "sweep", "airbench94_muon", *TINY, "train.epochs=1", "--axis", "optimizers.head.lr=0.01..2.56:log",
    "--telescope", "net.widths=[2,4,4],[4,8,8]", "--points", "3", "--trials", "2", "--again", "1", "--top", "1",
    "--held-out", "100",
]  # fmt: skip


def noisy(x: np.ndarray, top: float, std: float, trials: int, seed: int) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [list(0.9 - 0.01 * (at - top) ** 2 + std * rng.standard_normal(trials)) for at in x]


def test_the_top_of_a_parabola_is_found_exactly() -> None:
    x = np.linspace(-4, 2, 7)
    found = optimum(x, noisy(x, -0.7, 0, 2, 0))
    assert found.value == pytest.approx(-0.7)
    assert found.low == pytest.approx(found.high) == pytest.approx(-0.7)


@pytest.mark.parametrize("trials", [1, 3])
def test_its_interval_covers_the_truth_as_often_as_it_says(trials: int) -> None:
    x = np.linspace(-2, 2, 5)
    hits = 0
    for seed in range(40):
        found = optimum(x, noisy(x, 0.3, 0.004, trials, seed))
        hits += found.low <= 0.3 <= found.high
    assert hits >= 33  # of 38 expected


def test_an_interval_at_the_end_of_the_range_or_of_three_trials_claims_nothing() -> None:
    found = optimum([0, 1, 2, 3, 4], [[0.86], [0.85], [0.835], [0.8], [0.72]])
    assert found.low < found.high
    found = optimum([0, 1, 2], [[0.80], [0.85], [0.83]])
    assert (found.low, found.high) == (0, 2)
    assert np.ptp(found.draws) > 1


def test_an_optimum_beyond_the_range_is_its_end() -> None:
    x = np.linspace(0, 2, 5)
    assert optimum(x, noisy(x, 9, 0, 1, 0)).value == 2
    assert optimum(x, [[0.1 + at**2] for at in x]).value == 2  # no top at all
    with pytest.raises(ValueError, match="three values"):
        optimum([0, 1], [[0.1], [0.2]])


def test_drift_is_told_from_noise() -> None:
    x = np.linspace(-3, 3, 7)
    still = [optimum(x, noisy(x, 0, 0.003, 3, seed)) for seed in (1, 2)]
    moved = [optimum(x, noisy(x, top, 0.003, 3, 3)) for top in (-1, 1)]
    _, low, high = drift(still)
    assert low < 0 < high
    move, low, high = drift(moved)
    assert 0 < low < 2 < high
    assert move == pytest.approx(2, abs=0.7)


def test_an_optimum_at_the_end_of_its_values_claims_no_movement() -> None:
    x = np.linspace(-3, 3, 7)
    inside, beyond = optimum(x, noisy(x, 0, 0.001, 3, 1)), optimum(x, noisy(x, 4, 0.001, 3, 2))
    assert not inside.at_end
    assert beyond.at_end
    axis = parse_axis("lr=0.1..0.8:log")
    for pair in ([inside, beyond], [beyond, inside]):
        assert drift_text(axis, pair).startswith("may move or not")
    moved = optimum(x, noisy(x, 1, 0.001, 3, 3))
    assert drift_text(axis, [inside, moved]).startswith("moves +1")


@pytest.mark.parametrize(("trials", "std", "top"), [(2, 0.004, 1.5), (3, 0.008, 0.3)])
def test_an_optimum_that_stays_is_rarely_said_to_move_as_levels_narrow(trials: int, std: float, top: float) -> None:
    """Two levels, the second half as wide around the best value of the first, one true optimum."""
    axis, false, runs = parse_axis("lr=0.1..0.8:log"), 0, 200
    for seed in range(runs):
        first = np.linspace(-2, 2, 5)
        samples = noisy(first, top, std, trials, 2 * seed)
        second = first[int(np.argmax([np.mean(each) for each in samples]))] + np.linspace(-1, 1, 5)
        pair = [optimum(first, samples), optimum(second, noisy(second, top, std, trials, 2 * seed + 1))]
        false += drift_text(axis, pair).startswith("moves +") or drift_text(axis, pair).startswith("moves -")
    assert false / runs <= 0.05


def test_levels_narrow_around_the_best() -> None:
    plan = Telescope(
        Path(), "net.widths", ("a", "b", "c"), ("lr=0.01..1:log", "wd=0..8"), (5, 3), 0.5, 1, 0, 1, 0, False
    )
    first, second = plan.axes_at(0, {})
    assert (first.low, first.high, first.points, second.points) == (0.01, 1, 5, 5)
    first, second = plan.axes_at(1, {"lr": "0.1", "wd": "6"})
    assert (first.low, first.high, first.points) == (pytest.approx(0.1 / 10**0.5), pytest.approx(0.1 * 10**0.5), 3)
    assert (second.low, second.high) == (4, 8)
    first, _ = plan.axes_at(2, {"lr": "0.1", "wd": "6"})
    assert first.high / first.low == pytest.approx(100**0.25)
    assert parse_axis(str(first)) == first
    bounded = parse_axis("smoothing=0..0.3").around(0.0, 0.5, 3)
    assert (bounded.low, bounded.high) == (0, pytest.approx(0.15))


@given(share=st.floats(0.1, 1), centre=st.floats(0.125, 1))
def test_a_range_that_leaves_what_a_setting_may_be_is_moved_back(share: float, centre: float) -> None:
    bounds = parse_axis("rank=0.125..1:log")
    around = bounds.around(centre, share, 4)
    moved = around.inside(bounds)
    assert bounds.low <= moved.low < moved.high <= bounds.high
    assert moved.high / moved.low == pytest.approx(around.high / around.low)


def test_a_level_stays_within_what_its_setting_may_be(tmp_path: Path) -> None:
    """Around the best, 1, the range would end at 1.7, where a fraction may be at most 1."""
    recipe = load_recipe("dion")
    axes = ("optimizers.filters.rank_fraction=0.125..1:log", "optimizers.filters.lr=0.1..1:log")
    plan = Telescope(Path(), "net.widths", ("[4,8,8]", "[8,16,16]"), axes, (4, 3), 0.5, 1, 0, 1, 0, False)
    made = telescope.create(tmp_path, recipe, plan)
    level = made.recipe_at(1)
    rank, lr = (
        telescope._valid(axis, made, level)
        for axis in made.axes_at(1, {"optimizers.filters.rank_fraction": "1", "optimizers.filters.lr": "1"})
    )
    assert (rank.low, rank.high) == (pytest.approx(8**-0.5), pytest.approx(1))
    assert rank.high <= 1
    assert lr.high == pytest.approx(10**0.25)


def test_a_telescope_from_end_to_end(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airbench.experiment import worker

    train, begun = worker.run_trial, []

    def interrupted(*arguments: object) -> object:
        begun.append(1)
        if len(begun) == 9:  # in the second level
            raise KeyboardInterrupt
        return train(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(worker, "run_trial", interrupted)
        assert main([*COMMAND, "--out", str(tmp_path)]) == 130
    (folder,) = tmp_path.iterdir()
    assert main(["sweep", "--resume", str(folder)]) == 0
    plan = telescope.read(folder)
    small, large = (telescope.folder.read(plan.level_path(level)) for level in (0, 1))
    key = "optimizers.head.lr"
    assert [s[key] for s in small.settings] == ["0.01", "0.16", "2.56"]
    centre = float(small.settings[winner(small)][key])
    assert float(large.settings[1][key]) == pytest.approx(centre, rel=1e-3)
    assert float(large.settings[2][key]) == pytest.approx(4 * centre, rel=1e-3)
    widths = {run.setting("net", "widths")[0] for run in large.runs().values()}
    assert widths == {4}
    assert all(len(run.finished) == 2 for run in (*small.runs().values(), *large.runs().values()))
    assert load_recipe(large.path / "best.yaml").recipe.net.widths == (4, 8, 8)  # type: ignore[attr-defined]
    printed = capsys.readouterr().out
    assert f"best {key}:" in printed
    assert " octaves" in printed
    optima = json.loads((folder / "optima.json").read_text())[key]
    assert [each["at"] for each in optima] == ["[2,4,4]", "[4,8,8]"]
    assert all(each["low"] <= each["best"] <= each["high"] for each in optima)
    assert (folder / "telescope.png").read_bytes()[:4] == b"\x89PNG"


def test_the_plan_counts_before_anything_is_trained(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, "--plan", "--out", str(tmp_path)]) == 0
    first, second, total = capsys.readouterr().out.strip().splitlines()
    assert "3 settings over the whole range, 6 trials" in first
    assert "3 settings over 0.5 of the range, around the best, 7 trials" in second
    assert "times a training at the target" in total
    assert list(tmp_path.iterdir()) == []


def test_what_a_telescope_cannot_do_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--axis", "train.epochs=1,2", "--out", str(tmp_path)]) == 2
    assert "--axis train.epochs: a telescope narrows ranges" in capsys.readouterr().err
    bad = [word.replace("[4,8,8]", "[0,8,8]") for word in COMMAND]
    assert main([*bad, "--out", str(tmp_path)]) == 2
    assert "net.widths" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["sweep", "--resume", str(tmp_path)]) == 2
