"""A test that a mean reaches a target, for accuracies that may be skewed to the left.

Student's t-test assumes normal accuracies. A recipe that now and then trains badly has accuracies that are skewed to
the left, and a sample without a bad trial has both a high mean and a small spread: Student's t passes it too often.

**The test** reports the larger of two p-values. One is that of Hall's transformation of t, which corrects for
skewness (P. Hall 1992, On the removal of skewness by transformation, J. R. Statist. Soc. B 54). With u = (mean -
target) / std and skewness g, it is √n (u + g u²/3 + g² u³/27 + g/(6n)), compared with Student's t with n - 1 degrees
of freedom. Sample skewness is a poor estimate at small n, so g is the estimate minus one standard error.

The other is Student's, of a target that is ``margin(n)`` standard deviations higher. No test can see bad trials that
are not in the sample: if a share q of trials is D std lower, n trials contain none of them with probability (1 - q)ⁿ,
and look like normal accuracies whose mean is q·D std above the target (Bahadur and Savage 1956: a test of the mean that
is valid for every distribution has no power). One trial in ten that is 7 std lower is missed by 20 trials in 12% of
runs, and one in fifty by 60 trials in 30%. The margin is what such a sample can gain, over all shares of up to one in
ten and depths of up to 7 std; it shrinks as trials are added, to nothing at about 250:

===  ====  ====  ====  ====  ====  ====  ====  ====  ====
n    5     8     10    20    44    60    100   150   200
===  ====  ====  ====  ====  ====  ====  ====  ====  ====
std  1.37  0.90  0.78  0.54  0.24  0.15  0.06  0.02  0.01
===  ====  ====  ====  ====  ====  ====  ====  ====  ====

False positive rates at p < 0.01 in %, for runs whose true mean is exactly the target: Student's t, then this test
(100,000 simulated runs each). Exponential accuracies have skewness -2, lognormal ones (σ = ½) -1.75; in the last five
columns, so many trials are 7 std lower:

===  ===========  ===========  ===========  ============  ===========  ===========  ===========  ===========
n    normal       exponential  lognormal    1% of trials  2%           3%           5%           10%
===  ===========  ===========  ===========  ============  ===========  ===========  ===========  ===========
5     1.02  0.04   7.18  1.33   4.14  0.47   1.28  0.07    1.63  0.10   2.04  0.13   3.08  0.22   6.51  0.57
8     1.05  0.03   6.67  0.58   4.35  0.31   1.45  0.05    1.94  0.06   2.56  0.08   4.32  0.15  10.29  0.59
10    1.05  0.02   6.38  0.44   4.22  0.24   1.55  0.03    2.17  0.04   2.96  0.07   5.04  0.17  11.68  0.69
20    0.96  0.00   4.80  0.27   3.66  0.14   1.67  0.01    2.65  0.02   3.97  0.05   6.97  0.15   8.65  0.96
44    1.02  0.02   3.44  0.33   2.67  0.19   2.01  0.03    3.20  0.10   4.45  0.21   5.33  0.65   3.89  0.72
60    0.95  0.03   2.93  0.47   2.48  0.29   1.94  0.10    3.04  0.25   3.84  0.53   4.15  1.01   3.40  0.51
100   0.99  0.21   2.43  0.87   2.13  0.72   1.95  0.54    2.73  0.93   3.06  1.24   3.09  1.10   2.58  0.57
150   0.96  0.52   2.16  1.02   1.92  1.08   1.84  1.13    2.42  1.42   2.51  1.31   2.51  0.98   2.16  0.68
200   0.97  0.78   1.96  1.01   1.71  0.97   1.79  1.27    2.16  1.42   2.27  1.27   2.33  0.99   2.01  0.79
===  ===========  ===========  ===========  ============  ===========  ===========  ===========  ===========

So with 8 trials or more, fewer of which are no record, the rate is at most 1.5% for smooth left skew and for bad
trials of up to one in ten and up to 7 std. It is more if they are worse, or more common: see the tests.

**What it costs** if accuracies are normal: power in %, Student's t and then this test, by true mean:

===  ==============  ==============  ==============
n    target + ½ std  target + 1 std  target + 2 std
===  ==============  ==============  ==============
5      6.4   0.5      21.8   2.2      72.9  13.9
8     12.0   0.5      48.6   4.3      98.3  36.8
10    16.4   0.7      63.6   7.5      99.8  58.0
20    40.0   1.7      96.5  36.5     100.0  99.1
44    81.4  26.1     100.0  99.2     100.0 100.0
60    92.7  62.9     100.0 100.0     100.0 100.0
100   99.5  97.9     100.0 100.0     100.0 100.0
150  100.0 100.0     100.0 100.0     100.0 100.0
200  100.0 100.0     100.0 100.0     100.0 100.0
===  ==============  ==============  ==============
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from airbench.analysis.statistics import RESOLUTION

Array = npt.NDArray[np.float64]

LEVEL = 0.01
"""The p-value that a record must stay below, and the chance that a sample without a bad trial passes all the same."""
MAX_SHARE, MAX_DEPTH = 0.1, 7.0
"""The bad trials that the test allows for: up to this share of all, up to so many standard deviations lower."""


@cache
def margin(n: int) -> float:
    """Return how many standard deviations the mean of ``n`` trials must lie above the target besides.

    The least with which, whatever share of trials is bad, up to MAX_SHARE, samples with no bad trial among them pass
    with a probability of at most LEVEL, the probability of such a sample included.
    """
    root = math.sqrt(n)
    needed = 0.0
    for share in np.arange(0.01, MAX_SHARE + 0.001, 0.01):
        allowed = LEVEL / (1 - share) ** n
        if allowed >= 1:  # samples without a bad trial are rarer than that
            break
        # In such a sample, √n · (mean - target) / std is noncentral t.
        exceeded = float(stats.nct.isf(allowed, n - 1, share * MAX_DEPTH * root))
        needed = max(needed, (exceeded - float(stats.t.isf(LEVEL, n - 1))) / root)
    return needed


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
    return np.asarray(stats.t.sf(math.sqrt(n) * np.minimum(u - margin(n), corrected), n - 1))


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
