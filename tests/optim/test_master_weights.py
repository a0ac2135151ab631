"""Half-precision weights that are stepped in float32."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from airbench.optim.groups import ParamGroup
from airbench.optim.master_weights import MasterWeights, adopt_one_by_one, adopt_together
from airbench.optim.optimizers import Optimizers
from airbench.recipe.optimizers import Adam
from airbench.recipe.schedules import Constant


def test_steps_too_small_for_bfloat16_add_up() -> None:
    """bfloat16 has no number between 1 and 0.996: a step of 0.0001 is lost in it, forty of them are not."""
    p = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    master = MasterWeights([p])
    optimizer = torch.optim.SGD(master.copies, lr=1e-4)
    for _ in range(40):
        p.grad = torch.ones_like(p)
        master.before_step()
        optimizer.step()
        master.after_step()
    assert master.copies[0].tolist() == pytest.approx([0.996] * 3)
    assert p.float().tolist() == pytest.approx([0.996] * 3, abs=1e-4)


def test_what_else_changes_the_weights_is_taken_over() -> None:
    p = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    master = MasterWeights([p])
    with torch.no_grad():
        master.copies[0] -= 1e-4  # rounds to the same weight: kept
        p[1] = 5.0
    master.before_step()
    assert master.copies[0].tolist() == pytest.approx([1 - 1e-4, 5.0, 1 - 1e-4])


def test_a_frozen_weight_stays() -> None:
    p = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    master = MasterWeights([p])
    optimizer = torch.optim.SGD(master.copies, lr=0.25, momentum=0.9)  # momentum would carry it on
    p.grad = torch.ones_like(p)
    for _ in range(3):
        master.before_step()
        optimizer.step()
        master.after_step()
        p.grad = None
    assert torch.equal(p, torch.full_like(p, 0.75))


def test_a_group_of_both_precisions_has_them() -> None:
    """Batch normalisation is float32 in a half-precision net."""
    norm, head = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    config = Adam(name="adam", params="*", lr=0.01)
    optimizers = Optimizers(
        [ParamGroup("all", config, ("n", "h"), (norm, head))], batch_size=1, total_steps=9, steps_per_epoch=1
    )
    norm.grad, head.grad = torch.ones_like(norm), torch.ones_like(head)
    optimizers.before_step(0)
    optimizers.step()
    assert [p.dtype for p in optimizers.trained[0].optimizer.param_groups[0]["params"]] == [torch.float32] * 2
    assert norm.tolist() == pytest.approx([-0.01] * 2)
    assert head.float().tolist() == pytest.approx([-0.01] * 2, rel=0.01)


@pytest.mark.parametrize("master_weights", [True, False])
def test_adam_in_bfloat16_needs_them(master_weights: bool) -> None:
    """With beta 0.999 its average square cannot fall in bfloat16: 1 - 0.001 rounds to 1."""
    config = Adam(
        name="adam", params="*", lr=0.01, betas=(0.0, 0.999), master_weights=master_weights,
        schedule=Constant(name="constant"),
    )  # fmt: skip
    p = nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
    exact = nn.Parameter(torch.zeros(4))
    reference = torch.optim.Adam([exact], lr=0.01, betas=(0.0, 0.999))
    optimizers = Optimizers(
        [ParamGroup("all", config, ("p",), (p,))], batch_size=1, total_steps=1000, steps_per_epoch=1
    )
    for step in range(1000):
        exact.grad = torch.full((4,), 1.0 if step < 10 else 0.1)
        p.grad = exact.grad.to(torch.bfloat16)
        optimizers.before_step(step)
        optimizers.step()
        reference.step()
    off = ((p.float() - exact).abs().max() / exact.abs().max()).item()
    assert off < 0.005 if master_weights else off > 0.05
    assert p.grad is None


@given(st.integers(0, 2**32 - 1), st.sampled_from([torch.bfloat16, torch.float16]), st.floats(1e-8, 1e4))
def test_changes_are_adopted_alike_one_by_one_and_together(seed: int, dtype: torch.dtype, size: float) -> None:
    """To the last bit, whatever has changed: nothing, a rounding step, the smallest number there is, or everything."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3, 4), (5,), (2, 3, 3, 3)]
    copies = [size * torch.randn(shape, generator=generator) for shape in shapes]
    params = [copy.to(dtype) for copy in copies]
    params[0][torch.rand(3, 4, generator=generator) < 0.5] *= 1.01
    params[1][0] = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps  # subnormal
    params[1][1] = 0.0
    params[2] = params[2].contiguous(memory_format=torch.channels_last)
    ways = {way: [copy.clone() for copy in copies] for way in (adopt_one_by_one, adopt_together)}
    for way, mine in ways.items():
        way(list(zip(params, mine, strict=True)))
    for one, other, p in zip(*ways.values(), params, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one.to(dtype), p)
    assert torch.equal(ways[adopt_together][2], copies[2])
