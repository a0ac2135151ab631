"""A test that a mean reaches a target, for accuracies that may be skewed to the left.

Student's t-test assumes normal accuracies. A recipe that now and then trains badly has accuracies that are skewed to
the left, and a sample without a bad trial has both a high mean and a small spread: Student's t passes it too often.

**The test** reports the larger of two p-values: Student's, and that of Hall's transformation of t, which corrects for
skewness (P. Hall 1992, On the removal of skewness by transformation, J. R. Statist. Soc. B 54). With
u = (mean - target) / std and skewness g, it is √n (u + g u²/3 + g² u³/27 + g/(6n)), compared with Student's t with
n - 1 degrees of freedom. Sample skewness is a poor estimate at small n, so g is the estimate minus one standard error.

False positive rates at p < 0.01 in %, for runs whose true mean is exactly the target: Student's t, then this test
(400,000 simulated runs each; 100,000 for n = 50 and 100). Exponential accuracies have skewness -2; in the last
four columns, one trial in ten is 3, 5, 7 or 10 std lower:

===  ============  ============  ============  ============  ============  =============
n    normal        exponential   10% at -3     10% at -5     10% at -7     10% at -10
===  ============  ============  ============  ============  ============  =============
5    1.00   0.28   7.23   1.98   1.97   0.56   3.68   1.08    6.55  1.94   12.90    3.96
8    0.97   0.31   6.71   0.98   2.25   0.72   5.18   1.78   10.22  3.64   20.99    8.28
10   0.99   0.35   6.29   0.85   2.32   0.86   5.78   2.36   11.48  4.98   22.17   10.99
20   1.00   0.52   4.71   0.82   2.15   1.15   5.13   3.42    8.81  6.96   11.79   10.87
50   0.95   0.71   3.12   0.92   1.81   0.98   2.85   1.06    3.66  0.76    4.40    0.56
100  1.02   0.87   2.47   0.99   1.45   0.93   2.09   0.84    2.48  0.54    3.05    0.13
===  ============  ============  ============  ============  ============  =============

So the rate stays within 1% (within simulation error) for smooth left skew from n = 8, and for rare bad trials from
about n = 50.

**What no test can do** is detect bad trials that are absent from the sample. If a share q of trials is D std lower, n
trials contain none of them with probability (1 - q)ⁿ, and then look like normal accuracies with a mean q·D std above
the target. The false positive rate is therefore at least (1 - q)ⁿ times the test's power there: to keep "10% at -7" to
1.5% at n = 20, a test may pass a normal mean of target + 0.7 std at most 12% of the time; Student's t passes it 72% of
the time. (Bahadur and Savage 1956: a test of the mean that is valid for every distribution has no power.) Only more
trials help.

**What it costs** if accuracies are normal: power in %, Student's t and then this test, by true mean:

===  ===============  ===============  ===============
n    target + ½ std   target + 1 std   target + 2 std
===  ===============  ===============  ===============
5     6.2    1.8      21.8    6.7       72.8   27.4
8    12.2    4.2      48.5   19.1       98.4   54.9
10   16.5    6.7      63.9   31.8       99.8   71.6
20   40.4   28.3      96.6   89.2      100.0   99.2
50   86.8   83.8      100.0 100.0      100.0  100.0
===  ===============  ===============  ===============
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from airbench.analysis.statistics import RESOLUTION

Array = npt.NDArray[np.float64]


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
    return np.asarray(stats.t.sf(math.sqrt(n) * np.minimum(u, corrected), n - 1))


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
