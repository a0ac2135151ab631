"""Parameters of several types in one group are each treated as they are alone."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from airbench.optim.decay import decay_cautiously, limit_norms
from airbench.optim.muon import Muon
from airbench.optim.normalized_momentum import NormalizedMomentum
from airbench.optim.orthogonalize import newton_schulz, orthogonalize_all
from airbench.optim.rescale import _together, rescale

TYPES = (torch.bfloat16, torch.float32, torch.float64, torch.float16)


def matrices() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 4 + i, generator=generator, dtype=torch.float64).to(t) for i, t in enumerate(TYPES)]


def within_a_rounding(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found.double(), expected.double(), rtol=torch.finfo(found.dtype).eps, atol=1e-7)


@pytest.mark.parametrize("first", range(len(TYPES)))
def test_padding_keeps_the_precision_of_each(first: int) -> None:
    mixed = matrices()[first:] + matrices()[:first]
    exact = partial(newton_schulz, dtype=torch.float64)
    for m, factor in zip(mixed, orthogonalize_all(mixed, exact, padded=True), strict=True):
        assert torch.allclose(factor, exact(m.double()), atol=1e-6)


@pytest.mark.parametrize("first", range(len(TYPES)))
def test_norms_are_limited_and_set_in_the_type_of_each(first: int) -> None:
    limited, scaled, together = (matrices()[first:] + matrices()[:first] for _ in range(3))
    before = [m.double() for m in limited]
    limit_norms(limited, 0.5)
    rescale(scaled, 2.0)
    _together(together, 2.0)
    for i, m in enumerate(before):
        assert within_a_rounding(limited[i], m * (0.5 / m.norm()))
        for found in (scaled, together):
            assert within_a_rounding(found[i], m * (2.0 * len(m) ** 0.5 / m.norm()))


@pytest.mark.parametrize("padded", [False, True])
def test_muon_steps_each_as_if_alone(padded: bool) -> None:
    """But for roundings: beside one in float16, every buffer is kept times 1 - momentum."""
    together, alone = ([nn.Parameter(m) for m in matrices()] for _ in range(2))
    exact = partial(newton_schulz, dtype=torch.float64)
    build = partial(Muon, lr=0.1, max_momentum_norm=3.0, weight_decay=0.1, orthogonalize=exact, padded=padded)
    optimizers = [build(together), *(build([p]) for p in alone)]
    for _ in range(3):
        for p in (*together, *alone):
            p.grad = torch.ones_like(p) * torch.arange(1.0, 7.0).to(p)[:, None] - p.detach()
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(together, alone, strict=True):
        assert torch.allclose(p.double(), q.double(), rtol=0, atol=4 * torch.finfo(p.dtype).eps + 1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [0.0, 1e-7, 1.0])
def test_momentum_is_normalised_in_float32_however_small(size: float, dtype: torch.dtype) -> None:
    """In float16, eps = 1e-8 is 0, and so is the square of 1e-7."""
    p = nn.Parameter(torch.zeros(4, dtype=dtype))
    p.grad = torch.full((4,), size, dtype=dtype)
    NormalizedMomentum([p], lr=0.5, momentum=0.0).step()
    value = p.grad[0].item()
    expected = -0.5 * value / (value + 1e-8)
    assert p.tolist() == pytest.approx([expected] * 4, rel=2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_cautious_decay_compares_signs_and_not_products_that_underflow(dtype: torch.dtype) -> None:
    least = torch.finfo(dtype).smallest_normal
    p = torch.tensor([1.0, 1.0, -1.0, least * 64, least * 64, 0.0], dtype=dtype)
    update = torch.tensor([0.0, -1.0, 0.0, least, -least, 1.0], dtype=dtype)
    before = p.clone()
    decay_cautiously(p, update, 0.5)
    assert (p / before).nan_to_num().tolist() == [0.5, 1.0, 0.5, 0.5, 1.0, 0.0]
