"""Rescaling sets each parameter's norm, in few launches as in a loop."""

from collections.abc import Callable

import pytest
import torch

from airbench.optim.rescale import _together, rescale

Rescaling = Callable[[list[torch.Tensor], float], None]


def params(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=g).mul(5).to(dtype) for s in ((8, 3, 3, 3), (4, 6), (16, 8, 3, 3))]


def test_each_filter_bank_gets_the_norm_of_an_orthogonal_matrix() -> None:
    scaled = params()
    rescale(scaled)
    for p in scaled:
        assert p.norm().item() == pytest.approx(len(p) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_few_launches_give_what_a_loop_gives(dtype: torch.dtype) -> None:
    loop, together = params(dtype), params(dtype)
    rescale(loop, 3.0)
    _together(together, 3.0)
    for one, other in zip(loop, together, strict=True):
        torch.testing.assert_close(other, one, rtol=2 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("function", [rescale, _together])
def test_zeros_stay_zeros_and_the_smallest_numbers_finite(function: Rescaling, dtype: torch.dtype) -> None:
    for value in (0.0, torch.finfo(dtype).smallest_normal):
        p = torch.full((4, 3), value).to(dtype)
        function([p], 1.0)
        assert p.isfinite().all()
        assert bool(p.any()) == (value > 0)


def test_the_divisor_on_a_gpu_is_no_zero_of_the_parameters_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """There PyTorch casts it to half precision before it divides."""
    divisors = []
    monkeypatch.setattr(torch.Tensor, "div_", lambda p, divisor: divisors.append(divisor.to(p.dtype)))
    _together([torch.zeros(64, 3, dtype=torch.float16)], 1.0)
    assert divisors[0] > 0


def test_parameters_without_elements_are_left_alone() -> None:
    rescale([torch.zeros(0, 3)])
