"""Robust regression: least squares where nothing is odd, unmoved by what is, and intervals that hold the truth."""

import numpy as np
import pytest
from scipy import stats

from airbench.analysis.regression import regress


def design(n: int, p: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])


def test_on_an_exact_plane_the_coefficients_are_exact() -> None:
    columns, truth = design(20, 4, 0), np.array([0.5, -2, 0, 3])
    fit = regress(columns, columns @ truth)
    assert fit is not None
    np.testing.assert_allclose(fit.coefficients, truth, atol=1e-10)
    assert fit.degrees == 16


def test_near_least_squares_where_nothing_is_odd() -> None:
    """Noise of ±1 has no tails: nothing is bent, and the textbook's formulas hold."""
    columns = design(200, 3, 1)
    outcomes = columns @ [1, 2, 3] + np.random.default_rng(2).choice([-1.0, 1.0], 200)
    fit = regress(columns, outcomes)
    assert fit is not None
    expected, rest, *_ = np.linalg.lstsq(columns, outcomes, rcond=None)
    np.testing.assert_allclose(fit.coefficients, expected, atol=1e-9)
    np.testing.assert_allclose(fit.covariance, rest / 197 * np.linalg.inv(columns.T @ columns), rtol=1e-6)
    value, low, high = fit.contrast(np.array([0.0, 1, 0]))
    reach = stats.t.ppf(0.975, 197) * fit.covariance[1, 1] ** 0.5
    assert (value, low, high) == pytest.approx((expected[1], expected[1] - reach, expected[1] + reach))


def test_a_few_disasters_do_not_move_it() -> None:
    columns, truth = design(100, 4, 3), np.array([1.0, 1, 0, -1])
    outcomes = columns @ truth + np.random.default_rng(4).normal(0, 0.1, 100)
    outcomes[:5] -= 50
    fit = regress(columns, outcomes)
    assert fit is not None
    np.testing.assert_allclose(fit.coefficients, truth, atol=0.06)
    squares = np.linalg.lstsq(columns, outcomes, rcond=None)[0]
    assert np.abs(squares - truth).max() > 1
    assert fit.residual < 0.2


@pytest.mark.parametrize("noise", ["normal", "long tails"])
@pytest.mark.parametrize("n", [30, 120])
def test_the_interval_holds_the_truth_as_often_as_it_says(noise: str, n: int) -> None:
    """Of 1,000 simulated fits of 12 columns at least 93 in 100 (of a promised 95)."""
    rng, held = np.random.default_rng(5), 0
    columns, difference = design(n, 12, 6), np.eye(12)[3]
    for _ in range(1000):
        drawn = rng.normal(size=n) if noise == "normal" else rng.standard_t(3, size=n)
        fit = regress(columns, drawn)
        assert fit is not None
        _, low, high = fit.contrast(difference)
        held += low <= 0 <= high
    assert 930 <= held <= 985


def test_columns_that_cannot_be_told_apart() -> None:
    columns = np.ones((10, 2))
    assert regress(columns, np.arange(10.0)) is None
    assert regress(np.eye(3), np.ones(3)) is None
