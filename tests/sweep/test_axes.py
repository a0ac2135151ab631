"""Axes: what is written is what is tried."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.errors import AirbenchError
from airbench.recipe.source import short_names
from airbench.sweep.axes import Axis, label, overrides, parse_axis, settings


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("train.epochs=4,6,8", ["4", "6", "8"]),
        ("net.widths=[8, 16, 16],[16, 32, 32]", ["[8, 16, 16]", "[16, 32, 32]"]),
        ("a.schedule={name: linear},{name: cosine, end: 0}", ["{name: linear}", "{name: cosine, end: 0}"]),
        ("lr=0.1..0.4:4", ["0.1", "0.2", "0.3", "0.4"]),
        ("lr=0.1..1.6:log:5", ["0.1", "0.2", "0.4", "0.8", "1.6"]),
        ("lr=1e-4..1e-2:log:3", ["0.0001", "0.001", "0.01"]),
        ("shift=-1..1:3", ["-1", "0", "1"]),
    ],
)
def test_a_grid_has_the_values_that_are_written(text: str, values: list[str]) -> None:
    assert parse_axis(text).grid() == values


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("train.epochs", "write KEY=a,b,c or KEY=low..high"),
        ("train.epochs=4", "two or more different values"),
        ("train.epochs=4,4", "two or more different values"),
        ("lr=0.4..0.1", "from low to high"),
        ("lr=0..1:log", "from low to high, above 0"),
        ("lr=x..1", "the ends of a range are numbers"),
        ("lr=1..nan", "from low to high"),
    ],
)
def test_what_is_no_axis_is_answered(text: str, why: str) -> None:
    with pytest.raises(AirbenchError, match=why):
        parse_axis(text)


def test_a_range_in_a_grid_needs_points() -> None:
    with pytest.raises(AirbenchError, match=r"--axis lr: a grid needs to know how many values: 0\.1\.\.0\.4:5"):
        settings([parse_axis("lr=0.1..0.4")], None, 0)


def test_several_axes_span_a_grid() -> None:
    found = settings([parse_axis("a.lr=1,2"), parse_axis("b=3,4,5")], None, 0)
    assert len(found) == 6
    assert found[0] == {"a.lr": "1", "b": "3"}
    assert overrides(found[5]) == ["a.lr=2", "b=5"]
    with pytest.raises(AirbenchError, match="b is given twice"):
        settings([parse_axis("b=1,2"), parse_axis("b=3,4")], None, 0)
    with pytest.raises(AirbenchError, match=r"--axis a: with the others a grid of 1,000,000 settings.*--random N"):
        settings([Axis(key, (), 0, 1, False, 100) for key in "abc"], None, 0)


def test_names_are_as_short_as_they_can_be() -> None:
    keys = ["net.widths", "train.selection.net.widths", "a.lr", "b.lr", "train.epochs"]
    assert list(short_names(keys).values()) == ["net.widths", "selection.net.widths", "a.lr", "b.lr", "epochs"]
    assert label({"net.widths": "[4, 8]", "a.lr": "1"}) == "widths=[4, 8] lr=1"


@given(low=st.floats(1e-6, 1), factor=st.floats(1.5, 1e4), log=st.booleans(), seed=st.integers(0, 99))
def test_random_settings_lie_in_the_range_and_repeat_by_seed(low: float, factor: float, log: bool, seed: int) -> None:
    axis = Axis("lr", (), low, low * factor, log)
    found = settings([axis], 12, seed)
    assert found == settings([axis], 12, seed)
    values = [float(setting["lr"]) for setting in found]
    assert len(set(values)) == 12
    assert all(low * (1 - 1e-3) <= value <= low * factor * (1 + 1e-3) for value in values)


def test_random_settings_on_a_logarithmic_scale_are_uniform_there() -> None:
    found = settings([Axis("lr", (), 1e-4, 1, True)], 1000, 0)
    logs = sorted(math.log10(float(setting["lr"])) for setting in found)
    assert logs[500] == pytest.approx(-2, abs=0.2)


def test_more_random_settings_than_there_are() -> None:
    with pytest.raises(AirbenchError, match=r"--random 5: these axes have only 4 different settings"):
        settings([parse_axis("a=1,2"), parse_axis("b=3,4")], 5, 0)


def test_labels_are_as_short_as_they_may_be() -> None:
    assert label({"optimizers.filters.lr": "0.1", "train.epochs": "4"}) == "lr=0.1 epochs=4"
    assert label({"optimizers.filters.lr": "0.1", "optimizers.head.lr": "2"}) == "filters.lr=0.1 head.lr=2"


def test_relative_paths_are_no_range() -> None:
    assert parse_axis("data.subset=../a.txt,../b.txt").choices == ("../a.txt", "../b.txt")
