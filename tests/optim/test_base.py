"""What all of our own optimizers promise: settings are checked for every group, and a saved state goes on."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from airbench.optim.base import GroupwiseOptimizer
from airbench.optim.dion import Dion
from airbench.optim.groups import OptimizerContext, ParamGroup
from airbench.optim.limited_sgd import LimitedSGD
from airbench.optim.muon import Muon
from airbench.optim.normalized_momentum import NormalizedMomentum
from airbench.optim.scion import Scion
from airbench.recipe import optimizers as schema
from airbench.recipe.optimizers import OPTIMIZERS

Build = Callable[..., GroupwiseOptimizer]


def limited(params: Any, **settings: Any) -> LimitedSGD:
    return LimitedSGD(params, **{"max_momentum_norm": 1.0, **settings})


def normuon(params: Any, **settings: Any) -> Muon:
    return Muon(params, **{"neuron_beta": 0.9, **settings})


BUILD: dict[str, Build] = {
    "muon": Muon,
    "normuon": normuon,
    "scion": Scion,
    "dion": Dion,
    "limited_sgd": limited,
    "normalized_momentum": NormalizedMomentum,
}

BAD: list[tuple[str, dict[str, Any]]] = [
    *((name, bad) for name in BUILD for bad in ({"lr": -1.0}, {"momentum": 1.5}, {"max_momentum_norm": 0.0})),
    *((name, {"weight_decay": -3.0}) for name in BUILD if name != "scion"),
    ("muon", {"adjust_lr": "typo"}),
    ("muon", {"flatten": "typo"}),
    ("muon", {"momentum_convention": "typo"}),
    ("muon", {"max_update_norm": -1.0}),
    ("muon", {"split": 0}),
    ("muon", {"operator_side": 0}),
    ("normuon", {"neuron_beta": 1.0}),
    ("scion", {"norm": "typo"}),
    ("scion", {"radius": 0.0}),
    ("dion", {"rank_fraction": 1.5}),
    ("normalized_momentum", {"eps": 0.0}),
]


def matrix(dtype: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).to(dtype))


@pytest.mark.parametrize(("name", "bad"), BAD)
def test_a_setting_out_of_range_is_refused_wherever_it_is_given(name: str, bad: dict[str, Any]) -> None:
    said = f"{next(iter(bad))} = .* is out of range"
    with pytest.raises(ValueError, match=said):
        BUILD[name]([matrix()], **bad)
    with pytest.raises(ValueError, match=said):
        BUILD[name]([{"params": [matrix()], **bad}])
    with pytest.raises(ValueError, match=said):  # a default that the only group does not take
        BUILD[name]([{"params": [matrix()], **dict.fromkeys(bad, 0.5)}], **bad)
    optimizer = BUILD[name]([matrix()])
    with pytest.raises(ValueError, match=said):
        optimizer.add_param_group({"params": [matrix()], **bad})
    assert len(optimizer.param_groups) == 1


DEFAULTS: dict[str, tuple[schema.Group, GroupwiseOptimizer]] = {
    "muon": (schema.Muon(params="*", lr=0.1), Muon([matrix()])),
    "scion": (schema.Scion(params="*", lr=0.1), Scion([matrix()])),
    "dion": (schema.Dion(params="*", lr=0.1), Dion([matrix()])),
    "sgd": (schema.SGD(params="*", lr=0.1, max_momentum_norm=1.0), limited([matrix()])),
    "normalized_momentum": (schema.NormalizedMomentum(params="*", lr=0.1), NormalizedMomentum([matrix()])),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_pythons_defaults_are_the_recipes(name: str) -> None:
    config, ours = DEFAULTS[name]
    p = matrix()
    group = ParamGroup("all", config, ("p",), (p,))
    built = OPTIMIZERS.build(config, group, OptimizerContext(1, p.dtype, captured=False))
    assert type(built) is type(ours)
    assert {**built.defaults, "lr": None} == {**ours.defaults, "lr": None}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("config", [schema.SGD, schema.Adam, schema.AdamW, schema.Muon])
def test_a_step_moves_every_element_in_half_precision(config: type[schema.Group], dtype: torch.dtype) -> None:
    """PyTorch's fused SGD moved only the last few on a CPU until 2.14 (#191763)."""
    p = nn.Parameter(torch.randn(64, 16).to(dtype))
    before = p.detach().clone()
    group = ParamGroup("all", config(params="*", lr=0.5), ("p",), (p,))
    optimizer = OPTIMIZERS.build(group.config, group, OptimizerContext(1, dtype, captured=False))
    p.grad = (64 * torch.randn(64, 16)).to(dtype)
    for _ in range(3):
        optimizer.step()
    assert (p != before).float().mean() > 0.9


@pytest.mark.parametrize("name", BUILD)
def test_a_group_takes_settings_of_its_own_and_a_rate_on_the_device(name: str) -> None:
    optimizer = BUILD[name]([{"params": [matrix()], "momentum": 0.5, "lr": torch.tensor(0.1)}])
    assert optimizer.param_groups[0]["momentum"] == 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", BUILD)
def test_a_saved_state_goes_on_with_the_same_bits(name: str, dtype: torch.dtype) -> None:
    def train(p: nn.Parameter, optimizer: GroupwiseOptimizer, steps: range) -> None:
        for step in steps:
            p.grad = torch.randn(6, 4, generator=torch.Generator().manual_seed(step + 1)).to(dtype)
            optimizer.step()

    whole, half = matrix(dtype), matrix(dtype)
    train(whole, BUILD[name]([whole], lr=0.1), range(6))
    first = BUILD[name]([half], lr=0.1)
    train(half, first, range(3))
    second = BUILD[name]([half], lr=0.7)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(half, second, range(3, 6))
    assert torch.equal(whole, half)
