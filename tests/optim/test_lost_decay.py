"""What is said of weight decay that half precision rounds away is what happens to the weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from airbench.optim.decay import decay, decay_cautiously
from airbench.optim.groups import route
from airbench.optim.lost_decay import HALF, lost_decay, vanishes
from airbench.optim.optimizers import Optimizers
from airbench.recipe import load_recipe
from airbench.recipe import optimizers as schema
from airbench.recipe.schedules import Constant


def weights(dtype: torch.dtype) -> torch.Tensor:
    """Every number of 1..2 of ``dtype``, the powers of two included."""
    return torch.arange(1, 2, torch.finfo(dtype).eps, dtype=torch.float64).to(dtype)


@given(st.sampled_from(HALF), st.floats(0.01, 1))
def test_what_vanishes_changes_no_weight(dtype: torch.dtype, part: float) -> None:
    share = 0.999 * part * torch.finfo(dtype).eps / 4
    assert vanishes(share, dtype)
    plain, cautious, on_device = (weights(dtype) for _ in range(3))
    decay([plain], share)
    decay([on_device], torch.tensor(share))
    decay_cautiously(cautious, torch.ones_like(cautious), share)
    for p in (plain, cautious, on_device):
        assert torch.equal(p, weights(dtype))


@given(st.sampled_from(HALF), st.floats(1.01, 100))
def test_what_does_not_vanish_changes_some(dtype: torch.dtype, times: float) -> None:
    share = times * torch.finfo(dtype).eps / 4
    assert not vanishes(share, dtype)
    p = weights(dtype)
    decay([p], share)
    assert not torch.equal(p, weights(dtype))


FULL = Constant()
LOST: list[tuple[schema.Group, bool]] = [
    (schema.Muon(params="*", lr=0.01, weight_decay=0.1, schedule=FULL), True),
    (schema.Muon(params="*", lr=0.01, weight_decay=0.1, schedule=FULL, master_weights=True), False),
    (schema.Muon(params="*", lr=0.01, weight_decay=1.0, schedule=FULL), False),
    (schema.Muon(params="*", lr=0.01, schedule=FULL), False),
    (schema.NorMuon(params="*", lr=0.01, weight_decay=0.1, schedule=FULL), True),
    (schema.Dion(params="*", lr=0.01, weight_decay=0.1, schedule=FULL), True),
    (schema.Scion(params="*", lr=0.001, schedule=FULL), True),
    (schema.Scion(params="*", lr=0.001, schedule=FULL, constrained=False), False),
    (schema.AdamW(params="*", lr=0.01, schedule=FULL, master_weights=False), True),
    (schema.AdamW(params="*", lr=0.01, schedule=FULL), False),
    (schema.NormalizedMomentum(params="*", lr=0.01, weight_decay=0.1, schedule=FULL, master_weights=False), True),
    (schema.SGD(params="*", lr=0.01, weight_decay=0.1, schedule=FULL), False),
]


@pytest.mark.parametrize(("config", "lost"), LOST)
def test_every_optimizer_whose_decay_is_lost_is_named(config: schema.Group, lost: bool) -> None:
    net = nn.Linear(4, 3, bias=False).bfloat16()
    lines = lost_decay(route(net, {"all": config}), 10, 5)
    if lost:
        assert lines == [
            "all: weight decay, 0.001 a step or less, is lost to rounding in bfloat16 in 10 of 10 steps; "
            "optimizers.all.master_weights=true keeps it"
        ] or (lines[0].startswith("all: weight decay, 0.0001 a step") and config.name == "adamw")
    else:
        assert lines == []
    assert lost_decay(route(nn.Linear(4, 3, bias=False), {"all": config}), 10, 5) == []


def test_the_share_of_decay_is_that_of_the_adjusted_rate() -> None:
    net = nn.Linear(576, 8, bias=False).bfloat16()
    settings = {"params": "*", "lr": 0.02, "weight_decay": 0.5, "schedule": FULL, "master_weights": False}
    for adjust_lr, lost in (("none", False), ("fan_in", True)):
        config = schema.AdamW.model_validate({**settings, "adjust_lr": adjust_lr})
        assert bool(lost_decay(route(net, {"all": config}), 10, 5)) == lost
        optimizers = Optimizers(route(net, {"all": config}), batch_size=4, total_steps=10, steps_per_epoch=5)
        before = net.weight.detach().clone()
        net.weight.grad = torch.zeros_like(net.weight)
        optimizers.before_step(0)
        optimizers.step()
        assert torch.equal(net.weight, before) == lost


def test_decay_that_is_lost_at_the_end_of_a_schedule_only_is_not_mentioned() -> None:
    net = nn.Linear(4, 3, bias=False).bfloat16()
    # 0.01 falls below 2⁻⁹ in the last fifth of the steps, 0.003 in the last 65%.
    for decay_of, lost in ((1.0, False), (0.3, True)):
        config = schema.Muon(params="*", lr=0.01, weight_decay=decay_of)
        lines = lost_decay(route(net, {"all": config}), 100, 5)
        assert [" in 65 of 100 steps" in line for line in lines] == ([True] if lost else [])


@pytest.mark.parametrize(("name", "words", "lost"), [
    ("hiverge", [], True),
    ("cautious_weight_decay", [], True),
    ("hiverge", ["optimizers.filters.master_weights=true"], False),
    ("airbench94_muon", [], False),
])  # fmt: skip
def test_hiverges_decay_is_lost_without_master_weights(name: str, words: list[str], lost: bool) -> None:
    group = load_recipe(name, words).recipe.optimizers["filters"].model_copy(update={"params": "*"})
    net = nn.Conv2d(2, 3, 3, bias=False).bfloat16()
    lines = lost_decay(route(net, {"filters": group}), 247, 32)
    assert [line.startswith("filters: weight decay, 0.00033 a step or less") for line in lines] == [True] * lost
