"""Statistics against known answers, and against what they promise on simulated data."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airbench.analysis.statistics import (
    ALPHA,
    has_spread,
    paired,
    pooled_std,
    power,
    reaches,
    summarize,
    trials_needed,
    variance_share,
    welch,
)

RNG = np.random.default_rng(0)


def test_summary_of_a_known_case() -> None:
    s = summarize([1.0, 2.0, 3.0, 4.0])
    assert (s.n, s.mean, s.median, s.minimum, s.maximum) == (4, 2.5, 2.5, 1.0, 4.0)
    assert s.std == pytest.approx(math.sqrt(5 / 3))
    reach = 3.182446 * s.std / 2  # t(0.975, 3 degrees of freedom)
    assert (s.low, s.high) == (pytest.approx(2.5 - reach, abs=1e-5), pytest.approx(2.5 + reach, abs=1e-5))


def test_one_value_has_no_spread_and_none_is_refused() -> None:
    s = summarize([0.94])
    assert s.mean == 0.94
    assert math.isnan(s.std)
    assert math.isnan(s.low)
    with pytest.raises(ValueError, match="no values"):
        summarize([])


def test_welch_of_a_textbook_case() -> None:
    a = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
    b = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 33.2]
    found = welch(a, b)
    assert found.p == pytest.approx(0.00741, abs=2e-4)
    assert found.low < found.difference < found.high < 0
    swapped = welch(b, a)
    assert (swapped.difference, swapped.low) == (pytest.approx(-found.difference), pytest.approx(-found.high))


@given(
    st.lists(st.integers(0, 9000), min_size=2, max_size=8),
    st.integers(1, 1000),
    st.sampled_from([10_000, 123_457]),
)
def test_equal_differences_of_accuracies_are_no_spread_however_floats_round(
    counts: list[int], step: int, images: int
) -> None:
    a, b = [(k + step) / images for k in counts], [k / images for k in counts]
    found = paired(a, b)
    assert found.difference == pytest.approx(step / images)
    assert math.isnan(found.p)
    assert math.isnan(found.low)


def test_equal_differences_by_hand() -> None:
    assert math.isnan(paired([0.93, 0.94, 0.96], [0.94, 0.95, 0.97]).p)


@given(st.integers(0, 10_000), st.integers(2, 9))
def test_the_rounding_of_floats_is_no_spread_and_one_image_is(count: int, n: int) -> None:
    value = count / 10_000
    equal = [value + i % 2 * 1e-16 for i in range(n)]
    assert not has_spread(equal)
    assert math.isnan(welch(equal, equal).p)
    assert math.isnan(variance_share(equal, [[0.1, 0.2]]).share)
    assert math.isnan(pooled_std([equal, equal])[0])
    summary = summarize(equal)
    assert summary.std == 0
    assert math.isnan(summary.low)
    assert has_spread([*equal, (count + 1) / 10_000])


def test_a_mean_of_floats_that_is_the_target_reaches_it() -> None:
    values = [0.938, 0.942, 0.942, 0.938, 0.94]
    assert statistics.fmean(values) < 0.94  # by the rounding of floats
    assert reaches(statistics.fmean(values), 0.94)
    assert not reaches(0.9399, 0.94)


def test_no_spread_gives_no_interval() -> None:
    assert math.isnan(welch([0.9, 0.9], [0.8, 0.8]).p)
    assert math.isnan(welch([0.9], [0.8, 0.7]).low)
    assert welch([0.9], [0.8, 0.7]).difference == pytest.approx(0.15)
    assert math.isnan(paired([1.0, 2.0], [0.0, 1.0]).p)


def test_intervals_cover_as_often_as_they_say() -> None:
    covered = {"mean": 0, "welch": 0, "share": 0}
    runs = 2000
    for _ in range(runs):
        a, b = RNG.normal(0.94, 0.0015, 6), RNG.normal(0.941, 0.003, 9)
        s, w = summarize(a.tolist()), welch(a.tolist(), b.tolist())
        covered["mean"] += s.low <= 0.94 <= s.high
        covered["welch"] += w.low <= -0.001 <= w.high
        share = variance_share(
            RNG.normal(0, 2, 10).tolist(), [RNG.normal(0, 1, 5).tolist(), RNG.normal(3, 1, 6).tolist()]
        )
        covered["share"] += share.low <= 0.75 <= share.high
    for name, count in covered.items():
        assert 0.935 <= count / runs <= 0.965, name


def test_power_is_what_it_says() -> None:
    difference, std, n = 0.001, 0.0015, 30
    seen = 0
    for _ in range(3000):
        a, b = RNG.normal(0, std, n), RNG.normal(difference, std, n)
        seen += stats.ttest_ind(a, b, equal_var=False).pvalue < 0.05
    assert power(n, difference, std) == pytest.approx(seen / 3000, abs=0.03)
    assert power(n, 0.0, std) == pytest.approx(0.05, abs=1e-3)  # Welch's test is a little below its level


def test_trials_needed_is_the_least_number_that_suffices() -> None:
    n = trials_needed(0.001, 0.0015)
    assert n == 37  # textbook normal approximation: 2 · (1.96 + 0.84)² · 1.5² = 35.3
    assert power(n, 0.001, 0.0015) >= 0.8 > power(n - 1, 0.001, 0.0015)
    assert trials_needed(0.5, 1e-9) == 2
    for difference, std in ((0.0, 0.1), (0.001, 0.0)):
        with pytest.raises(ValueError, match="must be positive"):
            trials_needed(difference, std)


ACCURACIES = st.lists(st.integers(9300, 9500), min_size=2, max_size=8).map(lambda ks: [k / 10_000 for k in ks])


@given(ACCURACIES, ACCURACIES, st.integers(1, 20))
def test_an_interval_excludes_zero_exactly_where_p_is_below_alpha(a: list[float], b: list[float], m: int) -> None:
    size = min(len(a), len(b))
    for found in (welch(a, b, m), paired(a[:size], b[:size], m)):
        if not math.isnan(found.p) and abs(found.p - ALPHA) > 1e-9:
            assert (found.p < ALPHA) == (found.low > 0 or found.high < 0)


def test_bonferroni_by_hand() -> None:
    a, b = [0.94, 0.941, 0.942], [0.938, 0.9395, 0.94]
    alone, of_four = welch(a, b), welch(a, b, 4)
    assert of_four.p == pytest.approx(min(1, 4 * alone.p))
    test = stats.ttest_ind(a, b, equal_var=False)
    assert of_four.low == pytest.approx(test.confidence_interval(1 - 0.05 / 4).low)
    assert welch(a, a, 4).p == 1


def test_power_of_pairs_is_what_it_says() -> None:
    differences = RNG.normal(0.001, 0.0015, (4000, 12))
    seen = (stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05).mean()
    assert power(12, 0.001, 0.0015, paired=True) == pytest.approx(seen, abs=0.03)
    n = trials_needed(0.001, 0.0015, paired=True)
    assert power(n, 0.001, 0.0015, paired=True) >= 0.8 > power(n - 1, 0.001, 0.0015, paired=True)


def test_variance_share_by_hand() -> None:
    share = variance_share([1.0, 3.0, 5.0], [[2.0, 3.0, 4.0]])
    assert share.share == pytest.approx(0.75)
    assert share.low < 0.75 < share.high < 1
    assert math.isnan(variance_share([1.0, 1.0], [[1.0, 2.0]]).share)
    without = variance_share([1.0, 2.0], [[1.0, 1.0]])
    assert without.share == 1
    assert math.isnan(without.low)
    apart = variance_share([1.0, 3.0, 5.0], [[2.0, 3.0, 4.0], [92.0, 93.0, 94.0], [7.0]])  # far apart, alike within
    assert apart.share == share.share
    assert apart.low > share.low


def test_pooled_std() -> None:
    std, degrees = pooled_std([[1.0, 3.0], [10.0, 14.0], [5.0]])
    assert std == pytest.approx(math.sqrt((2 + 8) / 2))
    assert degrees == 2
    assert math.isnan(pooled_std([[1.0]])[0])


@pytest.mark.parametrize(("n", "difference"), [(2, 3.0), (3, 2.9), (6, 1.7)])
def test_power_is_that_of_the_test_that_compare_uses(n: int, difference: float) -> None:
    """The pooled test's would be up to a third higher with so few trials."""
    rng, trials = np.random.default_rng(0), 20_000
    a, b = rng.normal(difference, 1, (trials, n)), rng.normal(0, 1, (trials, n))
    simulated = (stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue < 0.05).mean()
    assert power(n, difference, 1.0) == pytest.approx(simulated, abs=0.012)
