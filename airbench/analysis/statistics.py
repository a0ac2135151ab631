"""Accuracy is a distribution: summaries, tests, intervals and sample sizes. The mathematics is scipy's."""

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import scipy

RESOLUTION = 1e-9
"""Values closer together than this count as equal.

Accuracies are counts of images over the number of images: two that differ do so by 1/N, 1e-4 on CIFAR-10, and two
that are equal can differ by a float's rounding, 1e-16. Seconds are read from a clock of nanoseconds.
"""


def has_spread(values: Sequence[float]) -> bool:
    """Whether ``values`` differ by more than the rounding of floats. False for fewer than two."""
    return len(values) > 1 and max(values) - min(values) > RESOLUTION


def reaches(mean: float, target: float) -> bool:
    """Whether ``mean`` is at the target or above; the rounding of a mean of floats does not count against it."""
    return mean >= target - RESOLUTION


@dataclass(frozen=True)
class Summary:
    """Of n values. ``std`` needs two values, the interval two that differ; they are NaN otherwise."""

    n: int
    mean: float
    std: float
    """Sample standard deviation (n - 1)."""
    low: float
    """Lower end of the confidence interval of the mean (Student's t)."""
    high: float
    """Upper end."""
    median: float
    minimum: float
    maximum: float


def summarize(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """Summary of ``values`` with a ``confidence`` interval of their mean. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values to summarize")
    n, mean = len(values), statistics.fmean(values)
    reach = math.nan
    if has_spread(values):
        std = statistics.stdev(values)
        reach = float(scipy.stats.t.ppf((1 + confidence) / 2, n - 1)) * std / math.sqrt(n)
    else:
        std = 0.0 if n > 1 else math.nan
    return Summary(n, mean, std, mean - reach, mean + reach, statistics.median(values), min(values), max(values))


ALPHA = 0.05
"""The level of tests that compare: a difference is claimed where p is below it."""


@dataclass(frozen=True)
class Difference:
    """Of two means, a - b. The interval excludes 0 exactly where p < ALPHA: both come from one t-test."""

    difference: float
    low: float
    high: float
    """Interval of the difference; with several comparisons, 95% is for all of them together."""
    p: float
    """Two-sided, times the number of comparisons (Bonferroni), at most 1."""


def untested(difference: float) -> Difference:
    """A difference of which nothing more can be said."""
    return Difference(difference, math.nan, math.nan, math.nan)


def welch(a: Sequence[float], b: Sequence[float], comparisons: int = 1) -> Difference:
    """Welch's t-test of two independent samples (unequal variances), one of so many ``comparisons``.

    The interval is NaN where a sample has fewer than two values or neither has any spread.
    """
    difference = statistics.fmean(a) - statistics.fmean(b)
    if min(len(a), len(b)) < 2 or not (has_spread(a) or has_spread(b)):  # nothing to test with
        return untested(difference)
    with warnings.catch_warnings():  # a sample without spread (times to the same digit) is fine beside one with
        warnings.simplefilter("ignore", RuntimeWarning)
        result = scipy.stats.ttest_ind(a, b, equal_var=False)
    return _bonferroni(difference, result, comparisons)


def paired(a: Sequence[float], b: Sequence[float], comparisons: int = 1) -> Difference:
    """Student's t-test of the differences of values that belong together (the same seeds).

    The interval is NaN for fewer than two pairs, and where all differences are the same.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    if not has_spread(differences):
        return untested(statistics.fmean(differences))
    return _bonferroni(statistics.fmean(differences), scipy.stats.ttest_1samp(differences, 0.0), comparisons)


def _bonferroni(difference: float, result: Any, comparisons: int) -> Difference:
    """Interval and p-value of one of several t-tests, so that the error of all together is at most ALPHA."""
    interval = result.confidence_interval(1 - ALPHA / comparisons)
    return Difference(
        difference, float(interval.low), float(interval.high), min(1.0, float(result.pvalue) * comparisons)
    )


def power(n: int, difference: float, std: float, alpha: float = ALPHA, *, paired: bool = False) -> float:
    """Chance that a two-sided t-test of two samples of ``n`` values each sees a true ``difference``.

    Both have standard deviation ``std``; from the noncentral t distribution. If ``paired``, of ``n`` pairs, whose
    differences have standard deviation ``std``.
    """
    degrees = n - 1 if paired else 2 * n - 2
    shift = difference / std * math.sqrt(n if paired else n / 2)
    critical = float(scipy.stats.t.ppf(1 - alpha / 2, degrees))
    return float(scipy.stats.nct.sf(critical, degrees, shift) + scipy.stats.nct.cdf(-critical, degrees, shift))


def trials_needed(
    difference: float, std: float, chance: float = 0.8, alpha: float = ALPHA, *, paired: bool = False
) -> int:
    """Trials of each recipe for the ``chance`` to see a true ``difference``. At least 2. Raises ValueError."""
    if not (difference > 0 and std > 0 and 0 < alpha < 1 and alpha < chance < 1):
        raise ValueError("difference and std must be positive, and alpha < chance < 1")
    low, high = 1, 2
    while power(high, difference, std, alpha, paired=paired) < chance:
        low, high = high, high * 2
        if high > 10**8:
            raise ValueError("more than a hundred million trials")
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(middle, difference, std, alpha, paired=paired) >= chance
        low, high = (low, middle) if enough else (middle, high)
    return high


def pooled_std(samples: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Standard deviation common to several samples, and its degrees of freedom; NaN and 0 where none has a spread."""
    degrees = sum(len(s) - 1 for s in samples)
    if not any(has_spread(s) for s in samples):
        return math.nan, 0
    return math.sqrt(sum(statistics.variance(s) * (len(s) - 1) for s in samples if len(s) > 1) / degrees), degrees


@dataclass(frozen=True)
class Share:
    """Of a variance, with its interval; can be below 0 by chance."""

    share: float
    low: float
    high: float


def variance_share(all_vary: Sequence[float], one_fixed: Sequence[float], confidence: float = 0.95) -> Share:
    """The share of the variance that goes away when one source of randomness is held fixed.

    1 - s²(fixed) / s²(all); the interval is that of a ratio of two normal variances (F distribution).
    NaN where a sample has fewer than two values or the first has no spread; where only the second has none, the
    share is 1 and the interval NaN, since a variance of zero is no estimate to reason from.
    """
    if min(len(all_vary), len(one_fixed)) < 2 or not has_spread(all_vary):
        return Share(math.nan, math.nan, math.nan)
    if not has_spread(one_fixed):
        return Share(1.0, math.nan, math.nan)
    ratio = statistics.variance(one_fixed) / statistics.variance(all_vary)
    d1, d2 = len(one_fixed) - 1, len(all_vary) - 1
    tail = (1 - confidence) / 2
    ratio_low, ratio_high = ratio / scipy.stats.f.ppf(1 - tail, d1, d2), ratio / scipy.stats.f.ppf(tail, d1, d2)
    return Share(1 - ratio, float(1 - ratio_high), float(1 - ratio_low))
