"""Every method against the float64 SVD, within what it promises, over shapes and spectra."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from airbench.optim.orthogonalize import (
    Orthogonalizer,
    build_orthogonalizer,
    inverse_sqrt,
    newton_schulz,
    orthogonalize_all,
    svd,
)
from airbench.optim.orthogonalize.coefficients import polar_express, response, triples
from airbench.optim.orthogonalize.newton_schulz import normalized
from airbench.recipe.orthogonalizers import SVD, InverseSqrt, NewtonSchulz, NoOrthogonalization

NAMES = ("muon", "hiverge", "classical_quintic", "classical_cubic", "polar_express")
F64 = torch.float64


def matrix(m: int, n: int, spectrum: Tensor, seed: int) -> Tensor:
    """``(m, n)`` with the given min(m, n) singular values and random singular vectors, in float64."""
    g = torch.Generator().manual_seed(seed)
    k = min(m, n)
    u = torch.linalg.qr(torch.randn(m, k, dtype=F64, generator=g)).Q
    v = torch.linalg.qr(torch.randn(n, k, dtype=F64, generator=g)).Q
    return u @ torch.diag(spectrum) @ v.T


def factor(x: Tensor, of: Callable[[Tensor], Tensor] = torch.ones_like) -> Tensor:
    """U f(S) Vᵀ of ``x`` = U S Vᵀ, by LAPACK in float64."""
    u, s, vh = torch.linalg.svd(x.to(F64), full_matrices=False)
    return u @ torch.diag(of(s)) @ vh


def scalars(f: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensor], Tensor]:
    return lambda s: torch.from_numpy(f(s.numpy()))


shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))
seeds = st.integers(0, 2**31)


@st.composite
def matrices(draw: st.DrawFn, least: float = 1e-2) -> Tensor:
    """Any shape, any scale, singular values in least..1 times it."""
    m, n = draw(shapes)
    values = draw(st.lists(st.floats(least, 1), min_size=min(m, n), max_size=min(m, n)))
    scale = draw(st.sampled_from([1e-6, 1.0, 1e6]))
    return scale * matrix(m, n, torch.tensor(values, dtype=F64), draw(seeds))


@settings(max_examples=60)
@given(matrices(), st.sampled_from(NAMES), st.integers(0, 8))
def test_newton_schulz_is_its_scalar_iteration_on_every_singular_value(x: Tensor, name: str, steps: int) -> None:
    norm = torch.linalg.matrix_norm(x).item() + 1e-7
    expected = factor(x, scalars(lambda s: response(s / norm, triples(name, steps))))
    assert torch.allclose(newton_schulz(x, steps=steps, coefficients=name, dtype=F64), expected, atol=1e-8)


@settings(max_examples=40)
@given(matrices(1e-3), st.integers(5, 8))
def test_polar_express_keeps_its_promise(x: Tensor, steps: int) -> None:
    """Singular values from 0.001 of the Frobenius norm up end as near to 1 as those of its interval's edges do."""
    assume((torch.linalg.svdvals(x) / (torch.linalg.matrix_norm(x) + 1e-7)).min() >= 1e-3)
    promised = np.abs(response(np.linspace(1e-3, 1, 5001), polar_express(steps)) - 1).max()
    out = newton_schulz(x, steps=steps, coefficients="polar_express", dtype=F64)
    assert torch.linalg.matrix_norm(out - factor(x), 2) <= promised + 1e-6


@settings(max_examples=40)
@given(matrices(), st.sampled_from(["gram", "aol"]), st.integers(1, 5))
def test_tighter_normalisations_bound_the_spectral_norm_and_then_iterate_alike(x: Tensor, how: str, steps: int) -> None:
    wide = x.mT if x.shape[0] > x.shape[1] else x
    scaled, gram = normalized(wide, how, F64)
    frobenius, _ = normalized(wide, "frobenius", F64)
    assert torch.linalg.matrix_norm(scaled, 2) <= 1 + 1e-6
    assert torch.linalg.matrix_norm(scaled) >= torch.linalg.matrix_norm(frobenius) - 1e-9
    assert gram is not None
    assert torch.allclose(gram, scaled @ scaled.mT, atol=1e-10)
    expected = factor(scaled, scalars(lambda s: response(s, triples("muon", steps))))
    out = newton_schulz(x, steps=steps, normalize=how, dtype=F64)
    assert torch.allclose(out, expected.mT if wide is not x else expected, atol=1e-7)


@settings(max_examples=40)
@given(matrices())
def test_gram_normalisation_divides_by_the_fourth_root_of_the_sum_of_fourth_powers(x: Tensor) -> None:
    wide = x.mT if x.shape[0] > x.shape[1] else x
    values = torch.linalg.svdvals(wide)
    values = values / (values.norm() + 1e-7)  # by the Frobenius norm first, plus eps
    scaled, _ = normalized(wide, "gram", F64)
    expected = values / values.pow(4).sum().pow(0.25)
    assert torch.allclose(torch.linalg.svdvals(scaled), expected, rtol=1e-9, atol=1e-12)


def test_gram_normalisation_of_sixteen_equal_singular_values_makes_them_a_half() -> None:
    """Of k equal values, each is k^-¼ instead of k^-½."""
    scaled, _ = normalized(torch.eye(16, dtype=F64), "gram", F64)
    assert torch.allclose(torch.linalg.svdvals(scaled), torch.full((16,), 0.5, dtype=F64))


def test_almost_orthogonal_scaling_saves_an_iteration_on_random_matrices() -> None:
    """What Turbo-Muon is for: nearer to orthogonal after k steps than Frobenius normalisation after k."""
    x = torch.randn(8, 64, 256, dtype=F64, generator=torch.Generator().manual_seed(0))

    def deviation(how: str, steps: int) -> float:
        out = newton_schulz(x, steps=steps, coefficients="classical_quintic", normalize=how, dtype=F64)
        return float((torch.linalg.svdvals(out) - 1).abs().max())

    for steps in (2, 3, 4):
        assert deviation("aol", steps) <= deviation("frobenius", steps + 1)


@settings(max_examples=40)
@given(matrices(), st.integers(0, 25))
def test_inverse_sqrt_is_its_scalar_iteration(x: Tensor, steps: int) -> None:
    norm = torch.linalg.matrix_norm(x).item()

    def expected(s: np.ndarray) -> np.ndarray:
        share = s / norm
        y, z = share**2 + 1e-6, np.ones_like(share)
        for _ in range(steps):
            t = 1.5 - 0.5 * z * y
            y, z = y * t, t * z
        return share * z

    assert torch.allclose(inverse_sqrt(x, steps=steps), factor(x, scalars(expected)), atol=1e-6)


@settings(max_examples=40)
@given(matrices(1e-2))
def test_inverse_sqrt_converges_to_the_exact_factor(x: Tensor) -> None:
    """A share s of the Frobenius norm ends at s / √(s² + eps); with s at least 0.01 / √12 that is above 0.94."""
    assert torch.allclose(inverse_sqrt(x, steps=30, eps=1e-12), factor(x), atol=1e-4)
    norm = torch.linalg.matrix_norm(x)
    expected = factor(x, lambda s: s / (s**2 + 1e-6 * norm**2).sqrt())
    assert torch.allclose(inverse_sqrt(x, steps=30), expected, atol=1e-6)
    assert torch.allclose(inverse_sqrt(x.float(), steps=30).double(), expected, atol=2e-2)


@pytest.mark.parametrize("size", [6, 64, 256])
@pytest.mark.parametrize("steps", [15, 40, 100])
def test_inverse_sqrt_of_singular_matrices_stays_finite_in_float32(size: int, steps: int) -> None:
    g = torch.Generator().manual_seed(size)
    x = torch.randn(size, size // 6, generator=g) @ torch.randn(size // 6, size + 3, generator=g)
    values = torch.linalg.svdvals(inverse_sqrt(x, steps=steps))
    assert values[0] < 1.01
    assert values[size // 6 :].max() < 0.1


@settings(max_examples=40)
@given(matrices(1e-2))
def test_svd_is_exact(x: Tensor) -> None:
    assert torch.allclose(svd(x), factor(x), atol=1e-9)
    assert torch.allclose(svd(x.float()).double(), factor(x), atol=1e-3)  # float32's 6e-8 over a share of 1e-2, squared


@settings(max_examples=40)
@given(matrices(0.05), st.sampled_from([("muon", 3), ("muon", 5), ("classical_quintic", 5), ("polar_express", 6)]))
def test_half_precision_stays_within_its_rounding(x: Tensor, method: tuple[str, int]) -> None:
    """bfloat16 keeps 8 bits, so a sum a + b + c of terms is off by up to 2⁻⁸ (|a| + |b| + |c|) of its size: 0.04
    for Muon's, 0.01 for the classical ones, 0.18 for the first of the Polar Express, which the flat last ones undo.
    """
    name, steps = method
    assume(torch.linalg.matrix_norm(x) > 1e-3)  # else eps = 1e-7 would show
    exact = newton_schulz(x, steps=steps, coefficients=name, dtype=F64)
    rounded = newton_schulz(x, steps=steps, coefficients=name, dtype=torch.bfloat16).double()
    error = torch.linalg.matrix_norm(rounded - exact) / min(x.shape) ** 0.5
    assert error < 0.1


ALL: dict[str, Orthogonalizer] = {
    **{
        f"newton_schulz {name}": build_orthogonalizer(NewtonSchulz(coefficients=name, steps=4), torch.float32)  # type: ignore[arg-type]
        for name in NAMES
    },
    "newton_schulz gram": build_orthogonalizer(NewtonSchulz(normalize="gram"), torch.float32),
    "newton_schulz aol": build_orthogonalizer(NewtonSchulz(normalize="aol"), torch.float32),
    "newton_schulz bfloat16": build_orthogonalizer(NewtonSchulz(normalize="aol"), torch.bfloat16),
    "inverse_sqrt": build_orthogonalizer(InverseSqrt(method="inverse_sqrt"), torch.float32),
    "svd": build_orthogonalizer(SVD(method="svd"), torch.float32),
    "none": build_orthogonalizer(NoOrthogonalization(method="none"), torch.float32),
}  # fmt: skip


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-6, 1.0, 1e6, 1e30])
def test_zero_tiny_huge_and_rank_deficient_matrices_give_finite_factors(method: str, scale: float) -> None:
    x = torch.outer(torch.arange(1.0, 7), torch.ones(9)) * scale
    out = ALL[method](x)
    assert out.shape == x.shape
    assert out.isfinite().all()
    if scale == 0:
        assert not out.any()
    if method != "none":
        # The one singular value is 1 as a share of the norm; where the norm is less than eps = 1e-7, it is lost.
        assert (0.5 if scale >= 1e-6 else 0) < torch.linalg.matrix_norm(out.float(), 2) < 2 or scale == 0


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("padded", [False, True])
def test_many_at_once_equal_one_at_a_time(method: str, padded: bool) -> None:
    g = torch.Generator().manual_seed(0)
    shapes = [(4, 9), (9, 4), (4, 9), (3, 5, 7), (2, 2)]
    x = [torch.randn(*shape, generator=g) for shape in shapes]
    together = orthogonalize_all(x, ALL[method], padded=padded)
    for one, out in zip(x, together, strict=True):
        assert out.shape == one.shape
        assert padded or out.dtype == one.dtype
        expected = ALL[method](one).float()
        assert torch.allclose(out.float(), expected, atol=0.02 if "bfloat16" in method else 2e-4)


def test_svd_of_a_rank_deficient_matrix_has_its_rank() -> None:
    x = matrix(6, 8, torch.tensor([3.0, 1, 0.5, 0, 0, 0], dtype=F64), 1)
    assert torch.linalg.svdvals(svd(x)).tolist() == pytest.approx([1, 1, 1, 0, 0, 0], abs=1e-9)


def test_svd_of_what_is_not_finite_is_not_a_crash() -> None:
    x = torch.ones(3, 4)
    x[1, 1] = torch.nan
    assert svd(x).isnan().all()


def test_none_is_the_matrix_itself() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(ALL["none"](x), x)


def test_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match="no such normalisation"):
        newton_schulz(torch.ones(2, 2), normalize="spectral")
