"""Schedules start and end where their knobs say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.optim.schedule import epochs_to_steps, factor
from airbench.recipe.schedules import Constant, Linear, Triangular


def test_linear_falls_from_one_towards_zero_over_the_run() -> None:
    found = [factor(Linear(name="linear"), step, 4, 2) for step in range(4)]
    assert found == pytest.approx([1, 0.75, 0.5, 0.25])


def test_linear_over_its_own_epochs_then_stays() -> None:
    schedule = Linear(name="linear", start=2.0, end=0.5, epochs=2)
    assert [factor(schedule, step, 100, 2) for step in (0, 2, 4, 50)] == pytest.approx([2, 1.25, 0.5, 0.5])


def test_triangular_is_that_of_airbench94() -> None:
    schedule = Triangular(name="triangular")
    assert factor(schedule, 0, 476, 48) == pytest.approx(0.2)
    assert factor(schedule, 109, 476, 48) == 1  # int(476 · 0.23) = 109
    assert factor(schedule, 476, 476, 48) == pytest.approx(0.07)
    assert factor(schedule, 54, 476, 48) == pytest.approx(0.2 + 0.8 * 54 / 109)


def test_constant() -> None:
    assert factor(Constant(name="constant"), 77, 100, 10) == 1


@given(st.floats(0, 1), st.integers(1, 300), st.floats(0, 2), st.floats(0, 2))
def test_triangular_stays_between_its_knobs(peak: float, total: int, start: float, end: float) -> None:
    schedule = Triangular(name="triangular", start=start, peak=peak, end=end)
    found = [factor(schedule, step, total, 1) for step in range(total)]
    assert min(found) >= min(start, end, 1) - 1e-9
    assert max(found) <= max(start, end, 1) + 1e-9


@pytest.mark.parametrize(("epochs", "per_epoch", "steps"), [(8, 25, 200), (9.9, 48, 476), (0.1, 30, 3), (0.001, 5, 1)])
def test_epochs_to_steps(epochs: float, per_epoch: int, steps: int) -> None:
    assert epochs_to_steps(epochs, per_epoch) == steps
