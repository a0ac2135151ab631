"""Where the mean crosses the target, with an interval that covers."""

import math
from pathlib import Path

import numpy as np
import pytest

from airbench.analysis.time_to_target import Length, collect_lengths, crossing_lines, time_to_target
from airbench.errors import AirbenchError
from tests.analysis.fake_runs import failed_line, fake_run


def lengths(means: dict[float, float], spread: float = 0.0005) -> list[Length]:
    return [Length(e, (m - spread, m, m + spread), (e * 10, e * 10, e * 10)) for e, m in means.items()]


def test_crossing_by_hand() -> None:
    found = time_to_target(lengths({4: 0.93, 8: 0.95}), 0.94)
    assert found.epochs == pytest.approx(6)
    assert found.seconds == pytest.approx(60)
    assert found.epochs_low < 6 < found.epochs_high


def test_target_below_or_above_all_lengths() -> None:
    below, above = time_to_target(lengths({4: 0.93, 8: 0.95}), 0.90), time_to_target(lengths({4: 0.93, 8: 0.95}), 0.99)
    assert math.isnan(below.epochs)
    assert math.isnan(above.epochs)
    assert "reaches 90.00% in less than 4 epochs" in crossing_lines(lengths({4: 0.93, 8: 0.95}), 0.90, below)[-1]
    assert crossing_lines(lengths({4: 0.93, 8: 0.95}), 0.99, above)[-1].endswith("does not reach 99.00% in 8 epochs")


def test_a_target_just_out_of_reach_may_have_been_reached() -> None:
    """The means miss it by less than their noise."""
    near = lengths({4: 0.93, 8: 0.95}, spread=0.004)
    found = time_to_target(near, 0.951)
    assert math.isnan(found.epochs)
    assert found.epochs_low < 8
    line = crossing_lines(near, 0.951, found)[-1]
    assert line.endswith(
        f"does not reach 95.10% in 8 epochs on average (95% interval {found.epochs_low:.2f} to above 8)"
    )


def test_single_trials_give_no_interval() -> None:
    one = [Length(4, (0.93,), (40.0,)), Length(8, (0.95,), (80.0,))]
    found = time_to_target(one, 0.94)
    assert found.epochs == pytest.approx(6)
    assert math.isnan(found.epochs_low)
    assert "no interval: train two or more" in crossing_lines(one, 0.94, found)[-1]


def test_trials_without_spread_give_no_interval() -> None:
    fixed = lengths({4: 0.93, 8: 0.95}, spread=0.0)
    found = time_to_target(fixed, 0.94)
    assert found.epochs == pytest.approx(6)
    assert math.isnan(found.epochs_low)
    assert "no interval: train two or more" in crossing_lines(fixed, 0.94, found)[-1]


def test_a_mean_that_is_the_target_crosses_it() -> None:
    means = (0.938, 0.942, 0.942, 0.938, 0.94)
    assert np.mean(means) < 0.94  # by the rounding of floats
    data = [Length(4, (0.93, 0.931), (40.0,)), Length(8, means, (80.0,))]
    assert time_to_target(data, 0.94).epochs == pytest.approx(8)


def test_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered, runs = 0, 150
    for _ in range(runs):
        data = [Length(e, tuple(rng.normal(0.93 + 0.005 * (e - 4), 0.002, 5)), (e,) * 5) for e in (4.0, 6.0, 8.0)]
        found = time_to_target(data, 0.94)
        covered += found.epochs_low <= 6.0 <= found.epochs_high
    assert 0.89 <= covered / runs <= 1.0


def test_runs_of_one_recipe_are_grouped_by_length(tmp_path: Path) -> None:
    runs = [
        fake_run(tmp_path / f"{e}-{i}", [0.93 + e / 1000], overrides=[f"train.epochs={e}", f"name=x-{e}ep"])
        for e in (4, 6)
        for i in (0, 1)
    ]
    found = collect_lengths(runs)
    assert [(length.epochs, len(length.accuracies)) for length in found] == [(4, 2), (6, 2)]


def test_what_cannot_be_put_together_is_refused(tmp_path: Path) -> None:
    a = fake_run(tmp_path / "a", [0.93], overrides=["train.epochs=4"])
    b = fake_run(tmp_path / "b", [0.94], overrides=["train.epochs=6", "optimizers.head.lr=0.1"])
    with pytest.raises(AirbenchError, match=r"differ in more than train\.epochs"):
        collect_lengths([a, b])
    with pytest.raises(AirbenchError, match="at least two lengths"):
        collect_lengths([a])
    with pytest.raises(AirbenchError, match="is named twice"):
        collect_lengths([a, a])


def test_runs_in_which_every_trial_failed_are_said_to_be_so(tmp_path: Path) -> None:
    line = {"trial": 0, "seed": 0, "seeds": {}, "status": "failed", "reason": "the loss is NaN: lower lr"}
    failed = [fake_run(tmp_path / f"f{e}", [], overrides=[f"train.epochs={e}"], lines=[line]) for e in (4, 6)]
    with pytest.raises(AirbenchError, match=r"no trial of these runs finished: the loss is NaN: lower lr"):
        collect_lengths(failed)
    whole = fake_run(tmp_path / "w", [0.93], overrides=["train.epochs=4"])
    with pytest.raises(AirbenchError, match="only at 4 epochs"):
        collect_lengths([whole, failed[1]])


def test_failed_trials_are_counted_beside_the_claim(tmp_path: Path) -> None:
    lines = [failed_line(1), failed_line(2)]
    short = fake_run(tmp_path / "a", [0.93], overrides=["train.epochs=4"], lines=lines)
    runs = [short, fake_run(tmp_path / "b", [0.95, 0.951], overrides=["train.epochs=8"])]
    found = collect_lengths(runs)
    first, second, last = crossing_lines(found, 0.94, time_to_target(found, 0.94))
    assert first.endswith("2 failed")
    assert "failed" not in second
    assert last.endswith("; 2 failed trials not counted")
    *_, last = crossing_lines(found, 0.99, time_to_target(found, 0.99))
    assert last.endswith("does not reach 99.00% in 8 epochs; 2 failed trials not counted")
