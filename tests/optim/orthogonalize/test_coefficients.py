"""Named coefficients have the properties that they are known for; the optimal ones are those that were published."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.optim.orthogonalize.coefficients import (
    CLASSICAL_CUBIC,
    CLASSICAL_QUINTIC,
    MUON,
    optimal_quintic,
    polar_express,
    response,
    triples,
)

PUBLISHED = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845749518, 0.4188073119525678),
)
"""Amsel et al. 2025, before the safety factor of 1.01."""

GRID = np.linspace(1e-3, 1, 20001)


def worst(coefficients: list[tuple[float, float, float]]) -> float:
    return float(np.abs(response(GRID, coefficients) - 1).max())


def test_polar_express_coefficients_are_the_published_ones() -> None:
    for found, published in zip(polar_express(8), PUBLISHED, strict=False):
        assert [c * 1.01**k for c, k in zip(found, (1, 3, 5), strict=True)] == pytest.approx(published, rel=1e-6)


@given(st.floats(1e-3, 0.99))
def test_optimal_quintic_equioscillates(low: float) -> None:
    """Chebyshev: the best approximation with three coefficients meets its largest error four times, in turn."""
    triple = optimal_quintic(low, 1.0)
    x = np.linspace(low, 1, 40001)
    error = response(x, [triple]) - 1
    largest = np.abs(error).max()
    signs = [key for key, _ in itertools.groupby(np.sign(error[np.abs(error) > 0.999 * largest]))]
    assert signs == [-1, 1, -1, 1]


@given(st.floats(0.01, 0.9), st.tuples(*[st.floats(-0.05, 0.05)] * 3))
def test_no_quintic_nearby_does_better(low: float, change: tuple[float, float, float]) -> None:
    best = optimal_quintic(low, 1.0)
    x = np.linspace(low, 1, 4001)
    other = tuple(a + d for a, d in zip(best, change, strict=True))
    assert np.abs(response(x, [other]) - 1).max() >= np.abs(response(x, [best]) - 1).max() - 1e-6  # type: ignore[list-item]


@pytest.mark.parametrize("steps", [4, 5, 6, 8])
def test_polar_express_is_nearer_to_one_than_the_others_on_its_interval(steps: int) -> None:
    ours = worst(list(polar_express(steps)))
    assert all(ours < worst([other] * steps) for other in (MUON, CLASSICAL_CUBIC, CLASSICAL_QUINTIC))
    assert ours <= worst(list(polar_express(steps - 1)))


def test_polar_express_stays_positive_and_finite_down_to_zero() -> None:
    small = np.geomspace(1e-12, 1.01, 10001)
    out = response(small, polar_express(8))
    assert (out > 0).all()
    assert out.max() < 1.6


@pytest.mark.parametrize(("triple", "order"), [(CLASSICAL_CUBIC, 2), (CLASSICAL_QUINTIC, 3)])
def test_classical_iterations_converge_with_their_order(triple: tuple[float, float, float], order: int) -> None:
    """An error e near 1 becomes about e^order; from anywhere in 0..1 the iteration climbs to 1 and never over it."""
    e1, e2 = (abs(float(response(1 - e, [triple])) - 1) for e in (1e-2, 1e-3))
    assert np.log(e1 / e2) / np.log(10) == pytest.approx(order, abs=0.05)
    once = response(GRID, [triple])
    assert (once >= GRID - 1e-12).all()
    assert once.max() <= 1 + 1e-12
    assert float(response(0.05, [triple] * 25)) == pytest.approx(1, abs=1e-12)


def test_one_triple_serves_all_steps_and_the_last_of_a_list_all_later_ones() -> None:
    a, b = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    assert triples(a, 3) == [a, a, a]
    assert triples([a, b], 4) == [a, b, b, b]
    assert triples([a, b], 1) == [a]
    assert triples("muon", 2) == [MUON, MUON]
    assert triples("polar_express", 0) == []


@pytest.mark.parametrize("bad", ["newton", (1.0, 2.0), [], [(1.0, 2.0, 3.0), (1.0, 2.0)]])
def test_what_is_no_triple_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"no such coefficients|give three numbers"):
        triples(bad, 2)  # type: ignore[arg-type]
