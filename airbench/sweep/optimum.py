"""The best value of an axis, between the values that were tried, with its uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airbench.analysis.statistics import pooled_std

Array = npt.NDArray[np.float64]

DRAWS = 2000
NEIGHBOURS = 2
"""The parabola is fitted to the best value and so many on either side of it, or more on one side at an end."""


@dataclass(frozen=True)
class Optimum:
    """The top of a parabola through the accuracies, on the axis' own scale."""

    value: float
    low: float
    high: float
    """95% interval. Where the top lies outside the values tried, the nearest of them stands for it."""
    at_end: bool
    """Whether the top or an end of the interval lies at an end of the values that the parabola was fitted to: where
    the true one is beyond them cannot be said."""
    draws: Array
    """Values that the noise of the trials leaves possible, ``(DRAWS,)``."""


def optimum(places: Sequence[float], accuracies: Sequence[Sequence[float]]) -> Optimum:
    """Estimate where accuracy is highest, from each place's accuracies.

    What is estimated is the top of the parabola that fits best. Where the true curve is asymmetric, its top is
    elsewhere, by an amount that the interval does not contain. Closer values reduce it; more trials do not.

    The interval is a parametric bootstrap: each mean is drawn with the standard deviation pooled over places, or, if
    each has one trial only, that of the residuals; with three such places it is the whole range. Raises ValueError for
    fewer than three places.
    """
    order = np.argsort(places)
    x = np.asarray(places, dtype=np.float64)[order]
    samples = [list(accuracies[i]) for i in order]
    if len(x) < 3:
        raise ValueError("an optimum needs three values or more")
    means, counts = np.array([np.mean(s) for s in samples]), np.array([len(s) for s in samples])
    middle = int(np.argmax(means))
    size = min(len(x), 2 * NEIGHBOURS + 1)
    start = min(max(0, middle - NEIGHBOURS), len(x) - size)
    near = slice(start, start + size)
    x, means, counts = x[near], means[near], counts[near]
    std, degrees = pooled_std(samples)
    rng = np.random.default_rng(0)
    if degrees:
        noise = std / np.sqrt(counts) * rng.standard_t(degrees, (DRAWS, len(x)))
    elif len(x) == 3:  # the parabola goes through all three: nothing is known of the noise
        draws = rng.uniform(x[0], x[-1], DRAWS)
        return Optimum(float(_tops(x, means[None])[0]), float(x[0]), float(x[-1]), True, draws)
    else:
        residuals = means - np.polyval(np.polyfit(x, means, 2), x)
        spare = len(x) - 3
        noise = float(np.sqrt((residuals**2).sum() / spare)) * rng.standard_t(spare, (DRAWS, len(x)))
    draws = _tops(x, means + noise)
    low, high = np.quantile(draws, [0.025, 0.975])
    value = float(_tops(x, means[None])[0])
    at_end = bool(min(value, low) <= x[0] or max(value, high) >= x[-1])
    return Optimum(value, float(low), float(high), at_end, draws)


def _tops(x: Array, curves: Array) -> Array:
    """Return where the parabola through each of ``curves`` ``(n, len(x))`` is highest, within the range of ``x``."""
    a, b, _ = np.polyfit(x - x.mean(), curves.T, 2)
    ends = np.where(curves[:, 0] > curves[:, -1], x[0], x[-1])
    curved = np.where(a < 0, a, -1.0)
    top: Array = np.where(a < 0, np.clip(x.mean() - b / (2 * curved), x[0], x[-1]), ends)  # no top: the better end
    return top
