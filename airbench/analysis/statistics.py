"""Summaries, t-tests, intervals and sample sizes for accuracies over trials, computed with scipy."""

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

RESOLUTION = 1e-9
"""Values closer together than this are treated as equal.

An accuracy is a number of images divided by N, so two different accuracies are at least 1/N apart (1e-4 on CIFAR-10),
while rounding separates two equal ones by about 1e-16. Seconds come from a clock with nanosecond resolution.
"""


def has_spread(values: Sequence[float]) -> bool:
    """Whether ``values`` differ by more than floating-point rounding. False for fewer than two values."""
    return len(values) > 1 and max(values) - min(values) > RESOLUTION


def reaches(mean: float, target: float) -> bool:
    """Whether ``mean`` is at least ``target``, up to floating-point rounding."""
    return mean >= target - RESOLUTION


@dataclass(frozen=True)
class Summary:
    """Summary of n values. ``std`` needs two values and the interval two distinct ones; otherwise they are NaN."""

    n: int
    mean: float
    std: float
    """Sample standard deviation (n - 1)."""
    low: float
    """Lower end of the confidence interval for the mean (Student's t)."""
    high: float
    """Upper end."""
    median: float
    minimum: float
    maximum: float


def summarize(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """Summarize ``values``, with a confidence interval for their mean. Raises ValueError if there are none."""
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
"""Significance level of comparisons: a difference is claimed if p is below it."""


@dataclass(frozen=True)
class Difference:
    """Difference of two means, a - b. The interval excludes 0 if and only if p < ALPHA: both come from one t-test."""

    difference: float
    low: float
    high: float
    """Confidence interval. With several comparisons, the 95% applies to all of them jointly."""
    p: float
    """Two-sided p-value, multiplied by the number of comparisons (Bonferroni), at most 1."""


def untested(difference: float) -> Difference:
    """A difference without interval or p-value."""
    return Difference(difference, math.nan, math.nan, math.nan)


def welch(a: Sequence[float], b: Sequence[float], comparisons: int = 1) -> Difference:
    """Welch's t-test of two independent samples (unequal variances), as one of ``comparisons`` tests.

    Interval and p-value are NaN if a sample has fewer than two values or neither has any spread.
    """
    difference = statistics.fmean(a) - statistics.fmean(b)
    if min(len(a), len(b)) < 2 or not (has_spread(a) or has_spread(b)):
        return untested(difference)
    with warnings.catch_warnings():  # scipy warns if one sample has no spread, which is fine if the other has
        warnings.simplefilter("ignore", RuntimeWarning)
        result = scipy.stats.ttest_ind(a, b, equal_var=False)
    return _bonferroni(difference, result, comparisons)


def paired(a: Sequence[float], b: Sequence[float], comparisons: int = 1) -> Difference:
    """Paired t-test of values that belong together (the same seeds), as one of ``comparisons`` tests.

    Interval and p-value are NaN for fewer than two pairs, and if all differences are equal.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    if not has_spread(differences):
        return untested(statistics.fmean(differences))
    return _bonferroni(statistics.fmean(differences), scipy.stats.ttest_1samp(differences, 0.0), comparisons)


def _bonferroni(difference: float, result: Any, comparisons: int) -> Difference:
    """Interval and p-value of one of several t-tests, with a family-wise error rate of at most ALPHA."""
    interval = result.confidence_interval(1 - ALPHA / comparisons)
    return Difference(
        difference, float(interval.low), float(interval.high), min(1.0, float(result.pvalue) * comparisons)
    )


_MANY, _POINTS = 200, 16
"""Trials beyond which Welch's test and the pooled one are alike; points of a numerical integral below."""


def power(n: int, difference: float, std: float, alpha: float = ALPHA, *, paired: bool = False) -> float:
    """Power of Welch's two-sided t-test of two samples of ``n`` values each against a true ``difference``.

    Both samples have standard deviation ``std``. If ``paired``, the test is over ``n`` pairs, and ``std`` is the
    standard deviation of their differences. Computed from the noncentral t distribution.
    """
    degrees = n - 1 if paired else 2 * n - 2
    return _power(n, difference / std, alpha, paired, np.array([degrees]) if paired else _welch_degrees(n))


def _power(n: int, effect: float, alpha: float, paired: bool, tested: npt.NDArray[np.float64]) -> float:
    """Power of a t-test that takes its critical value from ``tested`` degrees of freedom, averaged over them."""
    degrees = n - 1 if paired else 2 * n - 2
    shift = effect * math.sqrt(n if paired else n / 2)
    critical = scipy.stats.t.ppf(1 - alpha / 2, tested)
    beyond = scipy.stats.nct.sf(critical, degrees, shift) + scipy.stats.nct.cdf(-critical, degrees, shift)
    return float(np.mean(beyond))


def _welch_degrees(n: int) -> npt.NDArray[np.float64]:
    """Return Welch's degrees of freedom for two samples of ``n``, at equally likely values of their variances' ratio.

    With equal n the statistic is that of the pooled test. Only the degrees of freedom differ: they depend on the share
    of one sample variance in the sum of both, which is independent of the sum and has a beta distribution.
    """
    if n > _MANY:
        return np.array([2.0 * n - 2])
    shares = scipy.stats.beta.ppf((np.arange(_POINTS) + 0.5) / _POINTS / 2, (n - 1) / 2, (n - 1) / 2)  # symmetric
    degrees: npt.NDArray[np.float64] = (n - 1) / (shares**2 + (1 - shares) ** 2)
    return degrees


def trials_needed(
    difference: float, std: float, target_power: float = 0.8, alpha: float = ALPHA, *, paired: bool = False
) -> int:
    """Trials per recipe needed to detect a true ``difference`` with ``target_power``. At least 2. Raises ValueError."""
    if not (difference > 0 and std > 0 and 0 < alpha < 1 and alpha < target_power < 1):
        raise ValueError("difference and std must be positive, and alpha < power < 1")

    def pooled(n: int) -> float:
        return _power(n, difference / std, alpha, paired, np.array([n - 1 if paired else 2 * n - 2]))

    low, high = 1, 2
    while pooled(high) < target_power:
        low, high = high, high * 2
        if high > 10**8:
            raise ValueError("more than a hundred million trials; ask for a larger difference")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if pooled(middle) >= target_power else (middle, high)
    while not paired and high <= _MANY and power(high, difference, std, alpha) < target_power:
        high += 1  # Welch's test needs one or two trials more than the pooled one
    return high


def pooled_std(samples: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Pooled standard deviation of several samples and its degrees of freedom; NaN and 0 if none has any spread."""
    degrees = sum(max(len(s) - 1, 0) for s in samples)
    if not any(has_spread(s) for s in samples):
        return math.nan, 0
    return math.sqrt(sum(statistics.variance(s) * (len(s) - 1) for s in samples if len(s) > 1) / degrees), degrees


@dataclass(frozen=True)
class Share:
    """Share of a variance, with its interval. The estimate can be negative."""

    share: float
    low: float
    high: float


def variance_share(all_vary: Sequence[float], fixed: Sequence[Sequence[float]], confidence: float = 0.95) -> Share:
    """Share of the variance that disappears when one source of randomness is held fixed.

    ``fixed`` holds a sample for each value at which it was held: only the variance within them counts, pooled.
    1 - s²(fixed) / s²(all), with the interval of a ratio of two normal variances (F distribution).
    NaN if there are no two values to compare, or the first has no spread. If only the second has none, the share is 1
    and the interval NaN: a sample variance of zero bounds nothing.
    """
    d1, d2 = sum(max(len(sample) - 1, 0) for sample in fixed), len(all_vary) - 1
    if d1 < 1 or not has_spread(all_vary):
        return Share(math.nan, math.nan, math.nan)
    std, _ = pooled_std(fixed)
    if math.isnan(std):
        return Share(1.0, math.nan, math.nan)
    ratio = std**2 / statistics.variance(all_vary)
    tail = (1 - confidence) / 2
    ratio_low, ratio_high = ratio / scipy.stats.f.ppf(1 - tail, d1, d2), ratio / scipy.stats.f.ppf(tail, d1, d2)
    return Share(1 - ratio, float(1 - ratio_high), float(1 - ratio_low))
