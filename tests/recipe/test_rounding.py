"""Fractions of whole numbers, in hundredths, are what integers say they are."""

from hypothesis import given
from hypothesis import strategies as st

from airbench.recipe.rounding import rounded_down, rounded_up
from airbench.recipe.schedules import Trapezoidal, Triangular
from airbench.recipe.schema import Evaluate
from airbench.recipe.selections import RecordedLoss


@given(st.integers(0, 100), st.integers(1, 100_000))
def test_hundredths_of_a_whole_number_are_rounded_as_integers_are(hundredths: int, whole: int) -> None:
    assert rounded_down(hundredths / 100 * whole) == hundredths * whole // 100
    assert rounded_up(hundredths / 100 * whole) == -(-hundredths * whole // 100)


def test_schedules_rise_for_so_many_steps() -> None:
    assert 0.57 * 100 < 57
    for schedule in (Triangular(peak=0.57), Trapezoidal(warmup=0.57)):
        factors = [schedule.factor(step, 100, 10) for step in range(100)]
        assert factors.index(1.0) == 57


def test_selection_drops_so_many() -> None:
    assert RecordedLoss(drop=0.57, until=1.0).rows_at(50, 100, 10, 100) == 43


def test_evaluation_augments_so_many() -> None:
    from airbench.training.evaluate import num_augmented

    assert num_augmented(Evaluate(uncertain=0.07), 10_000) == 700
