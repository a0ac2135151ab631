"""Coefficients (a, b, c) of the odd quintic a s + b s³ + c s⁵, by name; how the optimal ones are found."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

Triple = tuple[float, float, float]
Values = npt.NDArray[np.float64]

MUON: Triple = (3.4445, -4.7750, 2.0315)
"""Jordan et al. (2024): lifts small singular values fast and lets them end in about 0.7..1.2."""

HIVERGE: Triple = (3.4576, -4.7391, 2.0843)
"""The Hiverge speedrun of CIFAR-10 (2025)."""

CLASSICAL_QUINTIC: Triple = (15 / 8, -10 / 8, 3 / 8)
"""Converges cubically to 1 from anywhere in 0..1: value 1, first and second derivative 0 there (Higham 2008, ch. 8)."""

CLASSICAL_CUBIC: Triple = (3 / 2, -1 / 2, 0.0)
"""Converges quadratically to 1 from anywhere in 0..1: Newton-Schulz proper (Higham 2008, ch. 8)."""


def triples(coefficients: str | Sequence[float] | Sequence[Triple], steps: int) -> list[Triple]:
    """One triple a step from a name, one triple for all steps, or a list whose last serves all later steps.

    Raises ValueError for a name that is unknown and for something that is none of these.
    """
    if isinstance(coefficients, str):
        if coefficients == "polar_express":
            return list(polar_express(max(steps, 1)))[:steps]
        if coefficients not in _NAMED:
            raise ValueError(f"{coefficients}: no such coefficients; there are {', '.join((*_NAMED, 'polar_express'))}")
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
    """What becomes of the singular value(s) ``s`` after a step with each triple in turn."""
    out = np.asarray(s, dtype=np.float64)
    for a, b, c in coefficients:
        out = out * (a + b * out**2 + c * out**4)
    return out


@cache
def polar_express(steps: int, lower: float = 1e-3, cushion: float = 0.02407327424182761) -> tuple[Triple, ...]:
    """Coefficients of the Polar Express (Amsel et al. 2025, arXiv 2505.16932), found as the paper finds them.

    Each triple minimises the largest distance from 1 over the interval that the singular values are in by
    then, first ``lower``..1; doing so in every step is also best for all steps together. Where the interval
    reaches below ``cushion`` times its top, the triple is taken for an interval that does not, and rescaled to
    be centred on 1: it gives up little and keeps singular values from being thrown back. All triples but the last
    are made for an interval 1% wider, against rounding. ``lower`` and ``cushion`` are the paper's.
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
    """The odd quintic closest to 1 on ``low``..``high``, by Remez' exchange in float64.

    Its error takes its largest size with alternating signs at low, two points between, and high (Chebyshev).
    Raises ValueError unless 0 < low <= high.
    """
    if not 0 < low <= high:
        raise ValueError(f"optimal_quintic: 0 < low <= high is needed, not {low}, {high}")
    if 1 - low / high < 1e-5:  # the limit: a double point, where float64 no longer tells the four apart
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
