"""Robust linear regression: how much each of many things changes an outcome, all else equal.

Robust against a few odd outcomes, up to about a fifth of them, that have nothing to do with the columns.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from airbench.analysis.statistics import ALPHA, RESOLUTION

Array = npt.NDArray[np.float64]

_BEND = 1.345
"""Residuals beyond so many standard deviations count less; 95% as precise as least squares where none do."""


@dataclass(frozen=True)
class Regression:
    """Coefficients of an outcome on the columns of a design matrix."""

    coefficients: Array
    """``(p,)``."""
    covariance: Array
    """Of the coefficients, ``(p, p)``."""
    residual: float
    """Standard deviation of what the columns do not explain, by the residuals' median."""
    degrees: int
    """Degrees of freedom: outcomes less columns."""

    def contrast(self, difference: Array, comparisons: int = 1) -> tuple[float, float, float]:
        """Return ``difference`` ``(p,)`` · coefficients, and its 95% interval, jointly for so many ``comparisons``."""
        value = float(difference @ self.coefficients)
        reach = float(stats.t.ppf(1 - ALPHA / 2 / comparisons, self.degrees))
        reach *= float(np.sqrt(difference @ self.covariance @ difference))
        return value, value - reach, value + reach


def regress(columns: Array, outcomes: Array) -> Regression | None:
    """Fit ``outcomes`` ``(n,)`` to ``columns`` ``(n, p)`` by Huber's M-estimator (Huber & Ronchetti 2009, chapter 7).

    None if the columns cannot be told apart, or leave no degrees of freedom.
    """
    n, p = columns.shape
    if n <= p or np.linalg.matrix_rank(columns) < p:
        return None
    scale, weights = 0.0, np.ones(n)
    coefficients: Array = np.zeros(p)
    for _ in range(50):
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(columns * root[:, None], outcomes * root, rcond=None)[0].astype(np.float64)
        residuals = outcomes - columns @ coefficients
        # The median of n residuals with p of them fitted away is too small by about the square root of their share.
        scale = float(np.median(np.abs(residuals)) / stats.norm.ppf(0.75) * np.sqrt(n / (n - p)))
        if scale < RESOLUTION:
            break
        new = np.minimum(1.0, _BEND * scale / np.maximum(np.abs(residuals), 1e-300))
        if np.allclose(new, weights, atol=1e-6):
            break
        weights = new
    bent = np.abs(residuals) > _BEND * scale
    spread = np.sum((weights * residuals) ** 2) / (n - p)
    share = 1 - np.mean(bent)
    variance = spread / share**2 * (1 + p / n * np.mean(bent) / share) ** 2
    variance = max(variance, RESOLUTION**2)  # an exact fit leaves rounding errors, of which nothing is certain
    return Regression(coefficients, variance * np.linalg.inv(columns.T @ columns), scale, n - p)
