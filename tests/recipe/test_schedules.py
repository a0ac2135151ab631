"""Schedules start and end where their settings say."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.recipe.schedules import (
    Constant,
    Cosine,
    Linear,
    ScheduleConfig,
    Trapezoidal,
    Triangular,
    epochs_to_steps,
)


def test_linear_falls_from_one_towards_zero_over_the_run() -> None:
    found = [Linear().factor(step, 4, 2) for step in range(4)]
    assert found == pytest.approx([1, 0.75, 0.5, 0.25])


def test_linear_over_its_own_epochs_then_stays() -> None:
    schedule = Linear(start=2.0, end=0.5, epochs=2)
    assert [schedule.factor(step, 100, 2) for step in (0, 2, 4, 50)] == pytest.approx([2, 1.25, 0.5, 0.5])


def test_triangular_is_that_of_airbench94() -> None:
    schedule = Triangular()
    assert schedule.factor(0, 476, 48) == pytest.approx(0.2)
    assert schedule.factor(109, 476, 48) == 1  # int(476 · 0.23) = 109
    assert schedule.factor(476, 476, 48) == pytest.approx(0.07)
    assert schedule.factor(54, 476, 48) == pytest.approx(0.2 + 0.8 * 54 / 109)


def test_constant() -> None:
    assert Constant().factor(77, 100, 10) == 1


@given(st.floats(0, 1), st.integers(1, 300), st.floats(0, 2), st.floats(0, 2))
def test_triangular_stays_between_its_settings(peak: float, total: int, start: float, end: float) -> None:
    schedule = Triangular(start=start, peak=peak, end=end)
    found = [schedule.factor(step, total, 1) for step in range(total)]
    assert min(found) >= min(start, end, 1) - 1e-9
    assert max(found) <= max(start, end, 1) + 1e-9


@pytest.mark.parametrize(("epochs", "per_epoch", "steps"), [(8, 25, 200), (9.9, 48, 476), (0.1, 30, 3), (0.001, 5, 1)])
def test_epochs_to_steps(epochs: float, per_epoch: int, steps: int) -> None:
    assert epochs_to_steps(epochs, per_epoch) == steps


def test_cosine_is_half_way_in_the_middle_and_flat_at_both_ends() -> None:
    schedule = Cosine(start=1.0, end=0.2)
    found = [schedule.factor(step, 100, 10) for step in (0, 1, 50, 99, 100)]
    assert found == pytest.approx([1, 1, 0.6, 0.2, 0.2], abs=1e-3)
    assert schedule.factor(25, 100, 10) == pytest.approx(0.2 + 0.8 * (1 + 0.5**0.5) / 2)


def test_trapezoidal_climbs_stays_and_falls() -> None:
    schedule = Trapezoidal(start=0.5, warmup=0.1, cooldown=0.4, end=0.1)
    found = [schedule.factor(step, 100, 10) for step in (0, 5, 10, 30, 60, 80, 100)]
    assert found == pytest.approx([0.5, 0.75, 1, 1, 1, 0.55, 0.1])


def test_trapezoidal_in_epochs() -> None:
    schedule = Trapezoidal(warmup=2, cooldown=3, unit="epochs")
    found = [schedule.factor(step, 100, 10) for step in (0, 10, 20, 70, 85, 100)]
    assert found == pytest.approx([0, 0.5, 1, 1, 0.5, 0])


def test_trapezoidal_longer_than_the_run_never_jumps() -> None:
    schedule = Trapezoidal(warmup=8, cooldown=6, unit="epochs")
    found = [schedule.factor(step, 100, 10) for step in range(101)]
    assert found[40] == pytest.approx(0.5)
    assert max(abs(a - b) for a, b in pairwise(found)) < 0.02
    assert found[-1] == 0


@given(
    st.sampled_from(
        [
            Linear(start=0.3, end=0.1, fraction=0.5),
            Cosine(start=0.3, end=0.1, fraction=0.5),
            Triangular(start=0.3, end=0.1, fraction=0.5),
            Trapezoidal(start=0.3, end=0.1, fraction=0.5),
        ]
    ),
    st.integers(4, 400),
)
def test_schedules_start_and_end_where_their_settings_say(schedule: ScheduleConfig, total: int) -> None:
    assert schedule.factor(0, total, 1) == pytest.approx(0.3, abs=1e-9) or total * 0.5 * 0.1 < 1
    found = [schedule.factor(step, total, 1) for step in range(total)]
    assert found[-1] == pytest.approx(0.1)
    assert found[round(total * 0.5)] == pytest.approx(0.1)
    assert min(found) >= 0.1 - 1e-9
    assert max(found) <= 1


@given(st.floats(0, 30), st.floats(0, 30), st.integers(1, 100), st.sampled_from([0.0, 0.4, 1.5]))
def test_trapezoidal_of_any_lengths_stays_between_its_settings(
    up: float, down: float, total: int, start: float
) -> None:
    schedule = Trapezoidal(start=start, warmup=up, cooldown=down, unit="epochs", end=0.1)
    found = [schedule.factor(step, total, 5) for step in range(total)]
    assert min(found) >= min(start, 0.1) - 1e-9
    assert max(found) <= max(start, 1) + 1e-9


def test_warmup_and_cooldown_of_half_each_reach_one() -> None:
    schedule = Trapezoidal(warmup=0.5, cooldown=0.5)
    for total in range(2, 30):
        assert max(schedule.factor(step, total, 1) for step in range(total)) == 1


def test_a_length_is_given_once() -> None:
    with pytest.raises(ValueError, match="not both"):
        Linear(epochs=2, fraction=0.5)
    with pytest.raises(ValueError, match="more than 1"):
        Trapezoidal(warmup=0.6, cooldown=0.6)
