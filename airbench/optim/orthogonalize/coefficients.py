"""Coefficients (a, b, c) of the odd quintic a s + b s³ + c s⁵, by name, and computation of the optimal ones."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

Triple = tuple[float, float, float]
Values = npt.NDArray[np.float64]

MUON: Triple = (3.4445, -4.7750, 2.0315)
"""Jordan et al. (2024): increases small singular values quickly; they end up in about 0.7..1.2."""

HIVERGE: Triple = (3.4576, -4.7391, 2.0843)
"""The Hiverge speedrun of CIFAR-10 (2025)."""

CLASSICAL_QUINTIC: Triple = (15 / 8, -10 / 8, 3 / 8)
"""Converges cubically to 1 from anywhere in 0..1: value 1, first and second derivative 0 there (Higham 2008, ch. 8)."""

CLASSICAL_CUBIC: Triple = (3 / 2, -1 / 2, 0.0)
"""Converges quadratically to 1 from anywhere in 0..1: Newton-Schulz proper (Higham 2008, ch. 8)."""


def triples(coefficients: str | Sequence[float] | Sequence[Triple], steps: int) -> list[Triple]:
    """Return a triple per step, from a name, one triple for all steps, or a list whose last is reused for later steps.

    Raises ValueError for an unknown name or anything else, and for a negative number of steps.
    """
    if steps < 0:
        raise ValueError(f"steps = {steps}: give 0 or more")
    if isinstance(coefficients, str):
        if coefficients == "polar_express":
            return list(polar_express(max(steps, 1)))[:steps]
        if coefficients not in _NAMED:
            raise ValueError(
                f"{coefficients}: no such coefficients; use one of {', '.join((*_NAMED, 'polar_express'))}"
            )
        return [_NAMED[coefficients]] * steps
    try:
        listed = np.atleast_2d(np.array(coefficients, dtype=np.float64))
    except ValueError:  # ragged
        listed = np.empty(0)
    if listed.ndim != 2 or listed.shape[1] != 3:
        raise ValueError(f"{coefficients}: give three numbers (a, b, c), or a list of such triples")
    found: list[Triple] = [(float(a), float(b), float(c)) for a, b, c in listed]
    return (found + [found[-1]] * steps)[:steps]


_NAMED = {
    "muon": MUON,
    "hiverge": HIVERGE,
    "classical_quintic": CLASSICAL_QUINTIC,
    "classical_cubic": CLASSICAL_CUBIC,
}


def response(s: Values | float, coefficients: Sequence[Triple]) -> Values:
    """Map the singular value(s) ``s`` through one step with each triple in turn."""
    out = np.asarray(s, dtype=np.float64)
    for a, b, c in coefficients:
        out = out * (a + b * out**2 + c * out**4)
    return out


@cache
def polar_express(steps: int, lower: float = 1e-3, cushion: float = 0.02407327424182761) -> tuple[Triple, ...]:
    """Coefficients of the Polar Express (Amsel et al. 2025, arXiv 2505.16932), computed as in the paper.

    Each triple minimises the maximum distance from 1 over the current interval of the singular values, initially
    ``lower``..1; doing so at every step is also optimal for all steps together. Where the interval reaches below
    ``cushion`` times its top, the triple is computed for an interval that does not, and rescaled to be centred on 1:
    this costs little and keeps singular values from shrinking again. All triples but the last are computed for an
    interval 1% wider, against rounding. ``lower`` and ``cushion`` are the paper's.
    """
    safety = 1.01
    low, high, found = lower, 1.0, []
    for _ in range(steps):
        a, b, c = optimal_quintic(max(low, cushion * high), high)
        if cushion * high > low:
            scale = 2 / float(response(low, [(a, b, c)]) + response(high, [(a, b, c)]))
            a, b, c = a * scale, b * scale, c * scale
        found.append((a, b, c))
        low = float(response(low, [(a, b, c)]))
        high = 2 - low
    widened = [(a / safety, b / safety**3, c / safety**5) for a, b, c in found[:-1]]
    return (*widened, found[-1])


def optimal_quintic(low: float, high: float) -> Triple:
    """Find the odd quintic closest to 1 on ``low``..``high``, by the Remez algorithm in float64.

    Its error is maximal, with alternating signs, at low, two points between, and high (Chebyshev).
    Raises ValueError unless 0 < low <= high.
    """
    if not 0 < low <= high:
        raise ValueError(f"optimal_quintic: needs 0 < low <= high, not {low}, {high}")
    if 1 - low / high < 1e-5:  # the limit, a double point: float64 can no longer tell the four points apart
        a, b, c = CLASSICAL_QUINTIC
        return a / high, b / high**3, c / high**5
    inner = np.array([0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high])
    for _ in range(100):
        points = np.array([low, *inner, high])
        # p(x_i) + (-1)^i E = 1
        system = np.stack([points, points**3, points**5, [1.0, -1.0, 1.0, -1.0]], axis=1)
        a, b, c, _error = np.linalg.solve(system, np.ones(4))
        # p'(x) = a + 3 b x² + 5 c x⁴ = 0
        moved = np.sqrt(np.sort(np.roots([5 * c, 3 * b, a]).real))
        if np.abs(moved - inner).max() < 1e-14 * high:
            break
        inner = moved
    return float(a), float(b), float(c)
