"""The test behind the rule for records: exact where it is known, and as strict as promised on simulated runs."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airbench.analysis.skewed_t import Array, p_mean_reaches, p_values, share_that_may_be_missed, skewness

LEVEL = 0.01


def normal(rng: np.random.Generator, runs: int, n: int) -> Array:
    return rng.standard_normal((runs, n))


def exponential(rng: np.random.Generator, runs: int, n: int) -> Array:
    return 1 - rng.exponential(size=(runs, n))


def bad_by(depth: float) -> Callable[[np.random.Generator, int, int], Array]:
    def draw(rng: np.random.Generator, runs: int, n: int) -> Array:
        return rng.standard_normal((runs, n)) - depth * (rng.random((runs, n)) < 0.1) + 0.1 * depth

    return draw


DISTRIBUTIONS = {"normal": normal, "exponential": exponential, **{f"10% at -{d}": bad_by(d) for d in (3, 5, 7, 10)}}
"""All of mean 0."""

ALLOWED = {
    "normal": dict.fromkeys((5, 8, 10, 20, 50), 1.0),
    "exponential": {5: 2.1, 8: 1.1, 10: 1.0, 20: 1.0, 50: 1.1},
    "10% at -3": {5: 1.0, 8: 1.0, 10: 1.0, 20: 1.3, 50: 1.1},
    "10% at -5": {5: 1.2, 8: 1.9, 10: 2.5, 20: 3.6, 50: 1.2},
    "10% at -7": {5: 2.1, 8: 3.8, 10: 5.2, 20: 7.2, 50: 1.0},
    "10% at -10": {5: 4.2, 8: 8.5, 10: 11.3, 20: 11.2, 50: 0.8},
}
"""False records at the target in %, at most: what the table of skewed_t says, with some room for chance."""


def student(samples: Array) -> Array:
    return np.asarray(stats.ttest_1samp(samples, 0, axis=-1, alternative="greater").pvalue)


def passes(p: Array) -> float:
    """In %."""
    return 100 * float((p < LEVEL).mean())


def check_false_records(name: str, n: int, runs: int) -> None:
    """Hold the share of false records to the table, and to no more than Student's t makes."""
    samples = DISTRIBUTIONS[name](np.random.default_rng(n), runs, n)
    found = passes(p_values(samples, 0.0))
    allowed = ALLOWED[name][n]
    assert found <= allowed + 3 * 100 * math.sqrt(allowed / 100 / runs), (name, n, found)
    assert found <= passes(student(samples))


@pytest.mark.parametrize("n", [5, 8, 10, 20, 50])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_false_records_at_the_target_are_as_rare_as_promised(name: str, n: int) -> None:
    check_false_records(name, n, 25_000)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 8, 10, 20, 50])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_false_records_in_a_million_runs(name: str, n: int) -> None:
    check_false_records(name, n, 1_000_000)


@pytest.mark.parametrize("name", ["normal", "exponential", "10% at -3"])
@pytest.mark.parametrize("n", [8, 10, 20])
def test_what_the_rule_promises_holds_for_smooth_skew(name: str, n: int) -> None:
    samples = DISTRIBUTIONS[name](np.random.default_rng(1), 40_000, n)
    assert passes(p_values(samples, 0.0)) <= 1.5


def test_more_trials_help_where_they_do_not_help_student() -> None:
    samples = DISTRIBUTIONS["10% at -7"](np.random.default_rng(0), 20_000, 100)
    assert passes(student(samples)) > 2
    assert passes(p_values(samples, 0.0)) < 1


def test_no_test_can_see_what_the_sample_does_not_hold() -> None:
    """Samples without a bad trial are normal ones with a higher mean; a test that passes those passes these."""
    n, depth = 20, 7.0
    rng = np.random.default_rng(0)
    power = passes(student(normal(rng, 40_000, n) + 0.1 * depth))
    assert power == pytest.approx(72, abs=1)
    assert 0.9**n * power > 8
    false = passes(student(bad_by(depth)(rng, 40_000, n)))
    assert false >= 0.9**n * power - 0.5


@pytest.mark.parametrize(
    ("n", "above", "by_student", "by_this"),
    [(8, 1.0, 48.5, 19.1), (10, 1.0, 63.9, 31.8), (20, 0.5, 40.4, 28.3), (20, 1.0, 96.6, 89.2), (50, 0.5, 86.8, 83.8)],
)
def test_power_is_what_the_table_says(n: int, above: float, by_student: float, by_this: float) -> None:
    samples = normal(np.random.default_rng(n), 20_000, n) + above
    assert passes(student(samples)) == pytest.approx(by_student, abs=1.2)
    assert passes(p_values(samples, 0.0)) == pytest.approx(by_this, abs=1.2)


def test_skewness_agrees_with_scipy() -> None:
    samples = np.random.default_rng(0).exponential(size=(5, 7))
    assert skewness(samples) == pytest.approx(stats.skew(samples, axis=1, bias=False))


def test_p_value_by_hand() -> None:
    values = [0.941, 0.943, 0.939, 0.944, 0.942]
    u = (np.mean(values) - 0.94) / np.std(values, ddof=1)
    g = stats.skew(values, bias=False) - math.sqrt(6 * 5 * 4 / (3 * 6 * 8))
    assert g < 0
    transformed = ((1 + g * u / 3) ** 3 - 1) / g + g / 30  # the same polynomial as a cube
    assert p_mean_reaches(values, 0.94) == pytest.approx(stats.t.sf(math.sqrt(5) * transformed, 4))
    right = [0.9400, 0.9401, 0.9402, 0.9403, 0.9480, 0.9401, 0.9402, 0.9403]
    assert p_mean_reaches(right, 0.939) >= stats.ttest_1samp(right, 0.939, alternative="greater").pvalue


def test_values_that_say_nothing() -> None:
    for values in ([0.95], [0.95, 0.96], [0.95] * 3, [0.95, 0.95 + 1e-16, 0.95]):
        assert math.isnan(p_mean_reaches(values, 0.94))


@given(st.lists(st.integers(9000, 9999), min_size=3, max_size=12), st.integers(8000, 9999), st.integers(0, 500))
def test_a_lower_target_is_never_harder_to_reach(counts: list[int], target: int, lower: int) -> None:
    if len(set(counts)) == 1:
        return
    values = [count / 10_000 for count in counts]
    hard, easy = p_mean_reaches(values, target / 10_000), p_mean_reaches(values, (target - lower) / 10_000)
    assert easy <= hard + 1e-12


def test_how_common_bad_trials_may_be() -> None:
    share = share_that_may_be_missed(44)
    assert share == pytest.approx(0.1, abs=0.002)
    assert (1 - share) ** 44 == pytest.approx(0.01)
