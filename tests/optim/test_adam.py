"""Adam's learning rates by fan-in: each parameter steps as in an Adam of its own."""

import pytest
import torch
from torch import nn

from airbench.optim.groups import ParamGroup
from airbench.optim.optimizers import Optimizers
from airbench.recipe import optimizers as schema
from airbench.recipe.schedules import Linear


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("captured", [False, True])
def test_each_parameter_steps_by_its_own_rate(name: str, captured: bool) -> None:
    config = (schema.Adam if name == "adam" else schema.AdamW)(
        name=name,  # type: ignore[arg-type]
        params="*", lr=0.6, adjust_lr="fan_in", weight_decay=0.1, schedule=Linear(end=0.5),
    )  # fmt: skip
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    shapes, inputs = [(6, 4, 3, 3), (5, 8), (3, 4, 3, 3), (7,)], [36, 8, 36, 1]
    params = [nn.Parameter(torch.randn(*shape)) for shape in shapes]
    alone = [nn.Parameter(p.detach().clone()) for p in params]
    group = ParamGroup("all", config, tuple("abcd"), tuple(params))
    ours = Optimizers(
        [group],
        batch_size=1,
        total_steps=4,
        steps_per_epoch=1,
        captured=captured,
    )
    assert len(ours.trained[0].optimizer.param_groups) == 3
    for step in range(4):
        ours.before_step(step)
        for p, q in zip(params, alone, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        ours.step()
        rate = 0.6 * (1 - 0.5 * step / 4)
        if step == 0:
            theirs = [kind([q], lr=0.0, betas=(0.9, 0.95), weight_decay=0.1) for q in alone]
        for optimizer, fan_in in zip(theirs, inputs, strict=True):
            optimizer.param_groups[0]["lr"] = rate / fan_in
            optimizer.step()
        for p, q in zip(params, alone, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_one_rate_is_one_group() -> None:
    config = schema.AdamW(name="adamw", params="*", lr=0.1)
    params = tuple(nn.Parameter(torch.randn(3, n)) for n in (2, 5))
    ours = Optimizers([ParamGroup("all", config, ("a", "b"), params)], batch_size=1, total_steps=1, steps_per_epoch=1)
    assert len(ours.trained[0].optimizer.param_groups) == 1
