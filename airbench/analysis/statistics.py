"""Accuracy is a distribution: mean, spread and interval over trials."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Summary:
    """Of n values. ``std`` and the interval need two values and are NaN below that."""

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
    std = statistics.stdev(values) if n > 1 else math.nan
    reach = stats.t.ppf((1 + confidence) / 2, n - 1) * std / math.sqrt(n) if n > 1 else math.nan
    return Summary(n, mean, std, mean - reach, mean + reach, statistics.median(values), min(values), max(values))
