"""Newton-Schulz against the scalar iteration, the SVD, and the figures that its literature prints."""

import sys

import pytest
import torch

from airbench.optim.orthogonalize import build_orthogonalizer, newton_schulz
from airbench.optim.orthogonalize.coefficients import MUON, response
from airbench.optim.orthogonalize.newton_schulz import fused_quintic, quintic
from airbench.recipe.orthogonalizers import NewtonSchulz


def test_scalar_iteration_oscillates_around_one_as_published() -> None:
    published = [1.114759205, 0.7222038499421772, 1.0880871827296072, 0.6950353973496508, 1.1203226304932916]
    found = [float(response(0.7, [MUON] * k)) for k in range(1, 6)]
    assert found == pytest.approx(published, rel=1e-12)


def test_first_normalisation_gives_the_published_singular_values() -> None:
    torch.manual_seed(123)
    x = torch.randn(4, 6) * 10
    assert torch.linalg.matrix_norm(x).item() == pytest.approx(46.1010, abs=1e-4)
    values = torch.linalg.svdvals(newton_schulz(x, steps=0, dtype=torch.float32))
    assert values.tolist() == pytest.approx([0.7295, 0.5445, 0.3545, 0.2138], abs=1e-4)


def test_three_bfloat16_steps_on_a_wide_matrix_give_the_published_spectrum() -> None:
    torch.manual_seed(42)
    g = torch.randn(256, 1024)
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    x = newton_schulz(g, steps=3, dtype=torch.bfloat16).float()
    values = torch.linalg.svdvals(x)
    assert values.min().item() == pytest.approx(0.7514, abs=0.01)
    assert values.max().item() == pytest.approx(1.2050, abs=0.01)
    assert values.mean().item() == pytest.approx(1.0772, abs=0.003)
    assert torch.linalg.matrix_norm(x - u @ vt).item() == pytest.approx(2.38, abs=0.03)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6)])
def test_a_batch_equals_one_call_each_and_a_transpose_the_transposed(shape: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *shape)
    whole = newton_schulz(x, dtype=torch.float32)
    for i in range(2):
        for j in range(3):
            assert torch.allclose(whole[i, j], newton_schulz(x[i, j], dtype=torch.float32), atol=1e-5)
    assert torch.allclose(newton_schulz(x.mT, dtype=torch.float32), whole.mT, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 5, 9), (2, 1, 2, 9, 5)])
@pytest.mark.parametrize("how", ["frobenius", "gram"])
def test_stacks_of_batches_reach_the_kernel_as_one_batch(
    shape: tuple[int, ...], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes three dimensions only, and the blocks or positions of a stack of filters have four."""
    seen = []

    def spy(x: torch.Tensor, kernel: str) -> torch.Tensor:
        seen.append((x.ndim, kernel))
        return x @ x.mT

    module = sys.modules[newton_schulz.__module__]
    monkeypatch.setattr(module, "gram_of", spy)
    x = torch.randn(shape)
    out = newton_schulz(x, normalize=how, kernel="triton")
    assert len(seen) == 5
    assert set(seen) == {(3, "triton")}
    assert out.shape == x.shape
    assert torch.allclose(out[1, 0], newton_schulz(x[1, 0], normalize=how), atol=1e-5)


def test_python_and_recipes_choose_the_same_type() -> None:
    for dtype, computed in ((torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.float64,) * 2):
        x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
        by_default = newton_schulz(x)
        assert by_default.dtype == computed
        assert torch.equal(by_default, newton_schulz(x, dtype=computed))
        assert torch.equal(by_default, build_orthogonalizer(NewtonSchulz(), dtype)(x))
    assert newton_schulz(torch.randn(4, 6).half()).dtype == torch.bfloat16


def test_rank_deficient_matrix_keeps_its_rank() -> None:
    x = torch.outer(torch.arange(1.0, 7), torch.arange(1.0, 10))
    values = torch.linalg.svdvals(newton_schulz(x, dtype=torch.float32))
    assert 0.6 < values[0] < 1.3
    assert values[1:].max() < 1e-4


def test_five_steps_bring_random_matrices_close_to_orthogonal() -> None:
    values = torch.linalg.svdvals(newton_schulz(torch.randn(8, 64, 256), steps=5).float())
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("shape", [(2, 5, 9), (1, 16, 16), (3, 1, 4)])
@pytest.mark.parametrize("c", [2.0315, 0.0])
def test_the_quintic_in_two_products_is_the_quintic(shape: tuple[int, int, int], c: float) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    a, b = 3.4445, -4.7750
    gram = x @ x.mT
    expected = a * x + b * gram @ x + c * gram @ gram @ x
    assert torch.allclose(quintic(x, gram, a, b, c), expected)
    assert torch.allclose(fused_quintic(x, gram, a, b, c), expected)


def test_two_products_round_no_worse_than_six_operations() -> None:
    x = torch.randn(4, 64, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 64
    exact = quintic(x, x @ x.mT, 3.4445, -4.7750, 2.0315)
    half = x.bfloat16()
    fused, plain = (
        (step(half, half @ half.mT, 3.4445, -4.7750, 2.0315).double() - exact).norm()
        for step in (fused_quintic, quintic)
    )
    assert fused <= 1.05 * plain
