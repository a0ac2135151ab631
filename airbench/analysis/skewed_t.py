"""A test that a mean reaches a target, for accuracies that may be skewed to the left.

Student's t-test assumes normal accuracies. A recipe that now and then trains badly has accuracies that are skewed to
the left, and a sample without a bad trial has both a high mean and a small spread: Student's t passes it too often.

**The test** reports the larger of two p-values. One is that of Hall's transformation of t, which corrects for
skewness (P. Hall 1992, On the removal of skewness by transformation, J. R. Statist. Soc. B 54). With u = (mean -
target) / std and skewness g, it is √n (u + g u²/3 + g² u³/27 + g/(6n)), compared with Student's t with n - 1 degrees
of freedom. Sample skewness is a poor estimate at small n, so g is the estimate minus one standard error.

The other is Student's, of a target that is MARGIN standard deviations higher if there are fewer trials than ENOUGH.
No test can see bad trials that are not in the sample: if a share q of trials is D std lower, n trials contain none of
them with probability (1 - q)ⁿ, and look like normal accuracies whose mean is q·D std above the target (Bahadur and
Savage 1956: a test of the mean that is valid for every distribution has no power). One trial in ten that is 7 std
lower is missed by 20 trials in 12% of runs; Student's t then passes 72% of those, with the margin 8%. From 45 trials
on, such a trial is missed in less than 1% of runs, and no margin is needed.

False positive rates at p < 0.01 in %, for runs whose true mean is exactly the target: Student's t, then this test
(150,000 simulated runs each; 50,000 from n = 50 on). Exponential accuracies have skewness -2; in the last four columns,
one trial in ten is 3, 5, 7 or 10 std lower:

===  ============  ============  ============  ============  ============  =============
n    normal        exponential   10% at -3     10% at -5     10% at -7     10% at -10
===  ============  ============  ============  ============  ============  =============
5    1.04   0.14    7.25  1.78    1.96  0.31    3.81  0.66    6.48  1.15   12.86   2.54
8    1.03   0.08    6.63  0.79    2.24  0.20    5.29  0.54   10.32  1.34   21.11   3.85
10   0.98   0.05    6.22  0.57    2.35  0.16    5.74  0.54   11.56  1.40   22.10   4.63
20   1.01   0.00    4.65  0.25    2.19  0.03    5.09  0.20    8.80  0.95   11.64   4.26
50   0.98   0.75    3.16  0.98    1.70  1.02    2.82  1.06    3.81  0.81    4.31   0.48
100  1.07   0.94    2.43  0.97    1.41  0.86    2.08  0.89    2.68  0.58    2.81   0.15
===  ============  ============  ============  ============  ============  =============

So with 8 trials or more, fewer of which are no record, the rate is at most 1.5% for smooth left skew and for one bad
trial in ten of up to 7 std. Trials that are worse still must be rarer, or more trials be run.

**What it costs** if accuracies are normal: power in %, Student's t and then this test, by true mean:

===  ===============  ===============  ===============
n    target + ½ std   target + 1 std   target + 2 std
===  ===============  ===============  ===============
5     6.4    1.1      21.9    4.3       72.8   21.8
8    12.3    1.2      48.1    8.6       98.4   47.6
10   16.6    1.5      63.8   13.4       99.8   66.4
20   40.1    1.6      96.4   35.3      100.0   99.1
39   75.7    1.3     100.0   63.8      100.0  100.0
50   86.7   83.7     100.0  100.0      100.0  100.0
===  ===============  ===============  ===============

A recipe that is better than the target by less than a standard deviation needs 45 trials.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from airbench.analysis.statistics import RESOLUTION

Array = npt.NDArray[np.float64]

MARGIN = 0.55
"""Standard deviations that a mean must lie above the target, besides, if there are fewer trials than ENOUGH."""
ENOUGH = 45
"""Trials that are enough for one bad trial in ten to show: of so many, none is bad in less than 1% of runs."""


def p_mean_reaches(values: Sequence[float], target: float) -> float:
    """One-sided p-value against the hypothesis that the true mean of ``values`` is at most ``target``.

    NaN for fewer than three values, and if all values are equal.
    """
    return float(p_values(np.asarray(values, float), target))


def p_values(samples: Array, target: float) -> Array:
    """Vectorized ``p_mean_reaches``: p-values of shape (...) for samples of shape (..., n)."""
    n = samples.shape[-1]
    if n < 3:
        return np.full(samples.shape[:-1], math.nan)
    flat = np.ptp(samples, -1) <= RESOLUTION
    std = np.where(flat, math.nan, samples.std(-1, ddof=1))
    u = (samples.mean(-1) - target) / std
    g = skewness(samples) - skewness_error(n)
    corrected = u + g * u**2 / 3 + g**2 * u**3 / 27 + g / (6 * n)
    margin = MARGIN if n < ENOUGH else 0.0
    return np.asarray(stats.t.sf(math.sqrt(n) * np.minimum(u - margin, corrected), n - 1))


def skewness(samples: Array) -> Array:
    """Adjusted Fisher–Pearson skewness G₁, of shape (...), for samples of shape (..., n).

    NaN for fewer than three values, and if all values are equal.
    """
    n = samples.shape[-1]
    if n < 3:
        return np.full(samples.shape[:-1], math.nan)
    flat = np.ptp(samples, -1) <= RESOLUTION
    std = np.where(flat, math.nan, samples.std(-1, ddof=1))
    deviations = samples - samples.mean(-1, keepdims=True)
    return np.asarray(n / ((n - 1) * (n - 2)) * (deviations**3).sum(-1) / std**3)


def skewness_error(n: int) -> float:
    """Standard error of the sample skewness of ``n`` normal values."""
    return math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))


def share_that_may_be_missed(n: int, chance: float = 0.01) -> float:
    """The largest share of bad trials of which a sample of ``n`` contains none with probability ``chance``."""
    return 1.0 - chance ** (1 / n)
