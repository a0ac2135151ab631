"""Momentum of a fixed size."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from airbench.optim.normalized_momentum import NormalizedMomentum


@given(st.floats(1e-4, 1e4))
def test_each_tensor_moves_by_lr_an_element_whatever_its_gradient(scale: float) -> None:
    p = nn.Parameter(torch.zeros(50))
    optimizer = NormalizedMomentum([p], lr=0.1, momentum=0.5)
    p.grad = scale * torch.randn(50)
    optimizer.step()
    assert p.detach().square().mean().sqrt().item() == pytest.approx(0.1, rel=1e-3)


def test_three_steps_by_hand() -> None:
    """Buffers (1, 1), (0.5 + 1.5, 0.5 - 0.5) = (2, 0), (1, 0) + (0, 1) = (1, 1) for momentum 0.5."""
    p = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = NormalizedMomentum([p], lr=1.0, momentum=0.5, weight_decay=0.5)
    expected = torch.zeros(2, dtype=torch.float64)
    for gradient, direction in (((2, 2), (1, 1)), ((3, -1), (2**0.5, 0)), ((0, 2), (1, 1))):
        p.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        expected = 0.5 * expected - torch.tensor(direction, dtype=torch.float64)
        assert torch.allclose(p, expected, atol=1e-6)


def test_zero_gradient_moves_nothing() -> None:
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.zeros(3)
    NormalizedMomentum([p], lr=0.1).step()
    assert torch.equal(p, torch.ones(3))


def test_state_dict_round_trip_continues_bit_for_bit() -> None:
    p = nn.Parameter(torch.randn(5))
    optimizer = NormalizedMomentum([p], lr=0.1)
    gradients = torch.randn(4, 5)
    for g in gradients[:2]:
        p.grad = g
        optimizer.step()
    q = nn.Parameter(p.detach().clone())
    resumed = NormalizedMomentum([q], lr=0.7)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for g in gradients[2:]:
        p.grad = q.grad = g
        optimizer.step()
        resumed.step()
    assert torch.equal(p, q)


def test_closure_is_called_with_gradients_on() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = NormalizedMomentum([p], lr=0.1)

    def closure() -> torch.Tensor:
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(3)
    assert (p < 1).all()


@pytest.mark.parametrize("knobs", [{"lr": -1.0}, {"momentum": 1.0}, {"weight_decay": -1.0}, {"eps": 0.0}])
def test_knobs_out_of_range_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        NormalizedMomentum([nn.Parameter(torch.zeros(2))], **knobs)  # type: ignore[arg-type]
