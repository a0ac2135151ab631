"""What matters in a sweep: planted effects are found, and what was not planted is not."""

import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airbench.sweep.axes import Setting, parse_axis, settings
from airbench.sweep.effects import Effects, effect_lines, effects
from airbench.sweep.folder import Sweep

AXES = (
    "optimizers.filters.lr=0.05..0.8:log",
    "net.activation=gelu,silu",
    "train.batch_size=500,1000,2000",
    "optimizers.head.lr=0.1..0.9",
)


class Simulated(Sweep):
    """A sweep whose runs are made up: best at lr 0.2, silu half a point better, the other axes without effect."""

    def runs(self, part: str = "search") -> dict[int, Any]:
        found = {}
        for n, setting in enumerate(self.settings):
            noise = random.Random(n)
            found[n] = SimpleNamespace(
                trials=[SimpleNamespace(accuracy=accuracy(setting) + noise.gauss(0, 0.002)) for _ in range(2)]
            )
            found[n].finished = found[n].trials
        return found


def accuracy(setting: Setting) -> float:
    import math

    octaves = math.log2(float(setting["optimizers.filters.lr"]) / 0.2)
    return 0.93 - 0.004 * octaves**2 + 0.005 * (setting["net.activation"] == "silu")


def sweep(count: int, axes: tuple[str, ...] = AXES) -> Simulated:
    found = settings([parse_axis(text) for text in axes], count, 0)
    return Simulated(Path(), tuple(found), 2, 0, 1, 0, False)


def effects_of(sweep: Sweep) -> Effects | None:
    return effects(sweep, sweep.runs())


def test_planted_effects_are_found_and_no_others() -> None:
    found = effects_of(sweep(80))
    assert found is not None
    assert found.settings == 80
    rows = {(row.key, row.value): row for row in found.rows}
    keys = [text.partition("=")[0] for text in AXES]
    lr, activation, batch, head = ([row for (key, _), row in rows.items() if key == each] for each in keys)
    assert [round(float(row.value), 1) for row in lr] == pytest.approx([0.1, 0.8], abs=0.06)
    for row in lr:  # about two octaves from the middle, 0.2
        assert row.high < -0.01
        assert row.difference == pytest.approx(-0.016, abs=0.003)
    (only,) = activation
    sign = 1 if only.value == "silu" else -1
    assert only.low < sign * 0.005 < only.high
    assert only.low * only.high > 0
    assert len(batch) == len(head) == 2
    assert all(row.low < 0 < row.high for row in (*batch, *head))
    assert found.residual == pytest.approx(0.002 / 2**0.5, rel=0.4)


def test_the_table_marks_what_is_certain() -> None:
    found = effects_of(sweep(80))
    assert found is not None
    lines = effect_lines(found)
    marked = [line.split()[0] for line in lines if line.rstrip().endswith("*")]
    assert marked == ["filters.lr", "filters.lr", "activation"]
    assert any(line.startswith("batch_size") and "500" in line for line in lines)
    assert "on 80 settings, residual" in lines[-1]


def test_too_few_settings_say_nothing() -> None:
    assert effects_of(sweep(17)) is None  # 8 coefficients and 10 to spare
    assert effects_of(sweep(18)) is not None
    assert effects_of(replace(sweep(18), settings=())) is None


def test_settings_that_failed_or_hardly_learned_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate at which nothing is learned says nothing of the others' points, and must not drown them."""
    whole = sweep(80)
    runs = whole.runs()
    runs[0].trials = [*runs[0].trials, SimpleNamespace(accuracy=0.1)]  # not among the finished
    dead = [n for n, setting in enumerate(whole.settings) if float(setting["optimizers.filters.lr"]) > 0.5 and n]
    for n in dead:
        runs[n].finished = runs[n].trials = [SimpleNamespace(accuracy=0.1)] * 2
    monkeypatch.setattr(Simulated, "runs", lambda self, part="search": runs)
    found = effects_of(whole)
    assert found is not None
    assert found.settings == 79 - len(dead)
    assert found.left_out == 1 + len(dead) > 5
    assert "that failed, were pruned or hardly learned" in effect_lines(found)[-1]
    (activation,) = [row for row in found.rows if row.key == "net.activation"]
    assert abs(activation.difference) == pytest.approx(0.005, abs=0.002)


def test_nothing_is_certain_where_nothing_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sweep(40)
    runs = {n: SimpleNamespace(trials=[SimpleNamespace(accuracy=0.9371)]) for n in range(40)}
    for run in runs.values():
        run.finished = run.trials
    monkeypatch.setattr(Simulated, "runs", lambda self, part="search": runs)
    found = effects_of(whole)
    assert found is not None
    assert not any(line.rstrip().endswith("*") for line in effect_lines(found))


def test_ends_of_a_range_that_look_alike_are_two_and_words_are_levels() -> None:
    found = effects_of(sweep(30, ("train.batch_size=1000..1009", "net.activation=gelu,silu,nan", AXES[0])))
    assert found is not None
    ends = [int(row.value) for row in found.rows if row.key == "train.batch_size"]
    assert len(ends) == 2
    assert 1000 <= ends[0] < ends[1] <= 1009
    assert {row.value for row in found.rows if row.key == "net.activation"} < {"gelu", "silu", "nan"}
