"""The test behind the rule for records: exact where it is known, and as strict as promised on simulated runs."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airbench.analysis.skewed_t import (
    LEVEL,
    MAX_DEPTH,
    MAX_SHARE,
    Array,
    margin,
    p_mean_reaches,
    p_values,
    share_that_may_be_missed,
    skewness,
)
from airbench.analysis.verify import MIN_TRIALS


def normal(rng: np.random.Generator, runs: int, n: int) -> Array:
    return rng.standard_normal((runs, n))


def exponential(rng: np.random.Generator, runs: int, n: int) -> Array:
    return 1 - rng.exponential(size=(runs, n))


def lognormal(rng: np.random.Generator, runs: int, n: int) -> Array:
    return math.exp(0.125) - np.exp(0.5 * rng.standard_normal((runs, n)))


def bad(share: float, depth: float) -> Callable[[np.random.Generator, int, int], Array]:
    def draw(rng: np.random.Generator, runs: int, n: int) -> Array:
        return rng.standard_normal((runs, n)) - depth * (rng.random((runs, n)) < share) + share * depth

    return draw


SHARES, DEPTHS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1), (3, 5, 7)
DISTRIBUTIONS = {
    "normal": normal, "exponential": exponential, "lognormal": lognormal,
    **{f"{share:.0%} at -{depth}": bad(share, depth) for share in SHARES for depth in DEPTHS},
}  # fmt: skip
"""All of mean 0."""


def student(samples: Array) -> Array:
    return np.asarray(stats.ttest_1samp(samples, 0, axis=-1, alternative="greater").pvalue)


def passes(p: Array) -> float:
    """In %."""
    return 100 * float((p < LEVEL).mean())


def check_false_records(name: str, n: int, runs: int) -> None:
    """Hold the share of false records at the target to 1.5%, and to no more than Student's t makes."""
    samples = DISTRIBUTIONS[name](np.random.default_rng(n), runs, n)
    found = passes(p_values(samples, 0.0))
    assert found <= 1.5 + 3 * 100 * math.sqrt(0.015 / runs), (name, n, found)
    assert found <= passes(student(samples))


@pytest.mark.parametrize("n", [MIN_TRIALS, 10, 20, 44, 45, 60, 100, 150])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_false_records_are_at_most_three_in_two_hundred(name: str, n: int) -> None:
    """What the rule promises, however rare bad trials are, and at whatever n one stops."""
    check_false_records(name, n, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("n", range(MIN_TRIALS, 200, 8))
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_false_records_in_many_runs(name: str, n: int) -> None:
    check_false_records(name, n, 100_000)


def test_there_is_no_number_of_trials_at_which_to_stop() -> None:
    """The margin shrinks trial by trial: the 45th, or any other, does not suddenly make a record easy."""
    margins = [margin(n) for n in range(5, 400)]
    assert all(0 <= a - b < 0.1 * a + 0.005 for a, b in pairwise(margins[3:]))
    assert margins[-1] == 0


@pytest.mark.parametrize("n", [8, 20, 45, 80])
@pytest.mark.parametrize("share", [0.01, 0.03, MAX_SHARE])
def test_samples_without_a_bad_trial_pass_as_rarely_as_the_margin_says(n: int, share: float) -> None:
    rng, runs = np.random.default_rng(n), 40_000
    without = normal(rng, runs, n) + share * MAX_DEPTH
    chance = (1 - share) ** n * passes(p_values(without, 0.0))
    assert chance <= 100 * LEVEL * 1.1


@pytest.mark.parametrize(("share", "depth", "n"), [(0.3, 10, 8), (0.03, 15, 45), (0.1, 10, 20)])
def test_trials_that_are_worse_or_more_often_bad_are_beyond_what_is_promised(
    share: float, depth: float, n: int
) -> None:
    samples = bad(share, depth)(np.random.default_rng(0), 20_000, n)
    assert 1.5 < passes(p_values(samples, 0.0)) < passes(student(samples))


def test_more_trials_help_where_they_do_not_help_student() -> None:
    samples = DISTRIBUTIONS["10% at -7"](np.random.default_rng(0), 20_000, 100)
    assert passes(student(samples)) > 2
    assert passes(p_values(samples, 0.0)) < 1


def test_no_test_can_see_what_the_sample_does_not_hold() -> None:
    """Samples without a bad trial are normal ones with a higher mean; a test that passes those passes these."""
    n, depth = 20, 7.0
    rng = np.random.default_rng(0)
    without = normal(rng, 40_000, n) + 0.1 * depth
    power = passes(student(without))
    assert power == pytest.approx(72, abs=1)
    assert passes(p_values(without, 0.0)) == pytest.approx(8, abs=1)  # what the margin is for
    assert 0.9**n * power > 8
    false = passes(student(bad(0.1, depth)(rng, 40_000, n)))
    assert false >= 0.9**n * power - 0.5


@pytest.mark.parametrize(
    ("n", "above", "by_student", "by_this"),
    [(8, 1.0, 48.6, 4.3), (10, 1.0, 63.6, 7.5), (20, 0.5, 40.0, 1.7), (20, 1.0, 96.5, 36.5), (60, 0.5, 92.7, 62.9)],
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
    assert p_mean_reaches(values, 0.94) == pytest.approx(stats.t.sf(math.sqrt(5) * min(u - margin(5), transformed), 4))
    many = values * 9
    u = (np.mean(many) - 0.94) / np.std(many, ddof=1)
    g = stats.skew(many, bias=False) - math.sqrt(6 * 45 * 44 / (43 * 46 * 48))
    transformed = ((1 + g * u / 3) ** 3 - 1) / g + g / (6 * 45)
    assert p_mean_reaches(many, 0.94) == pytest.approx(stats.t.sf(math.sqrt(45) * min(u - margin(45), transformed), 44))
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
