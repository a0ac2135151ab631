"""Lookahead against its formula, by hand."""

import torch
from torch import nn

from airbench.optim.lookahead import Lookahead
from airbench.recipe.averages import Lookahead as Config


def make() -> tuple[nn.Linear, Lookahead]:
    net = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        net.weight.zero_()
    return net, Lookahead(net, Config(every=5, decay=0.95, power=3), total_steps=20)


def move(net: nn.Linear, value: float) -> None:
    with torch.no_grad():
        net.weight.fill_(value)


def test_acts_every_fifth_step_with_growing_decay() -> None:
    net, lookahead = make()
    move(net, 1.0)
    lookahead.after_step(4)
    assert torch.equal(net.weight, torch.ones(1, 2))
    lookahead.after_step(5)
    slow = 1 - 0.95**5 * (5 / 20) ** 3
    assert torch.allclose(net.weight, torch.full((1, 2), slow))
    move(net, 3.0)
    lookahead.after_step(10)
    share = 1 - 0.95**5 * (10 / 20) ** 3
    assert torch.allclose(net.weight, torch.full((1, 2), slow + share * (3 - slow)))


def test_ends_with_the_slow_weights() -> None:
    net, lookahead = make()
    lookahead.after_step(5)
    move(net, 7.0)
    lookahead.finish()
    assert not net.weight.any()


def test_a_training_too_short_for_an_update_keeps_its_weights() -> None:
    net, lookahead = make()
    move(net, 7.0)
    lookahead.after_step(4)
    lookahead.finish()
    assert torch.equal(net.weight, torch.full((1, 2), 7.0))


def test_batch_statistics_are_averaged_too_and_counters_are_not() -> None:
    net = nn.BatchNorm2d(3)
    lookahead = Lookahead(net, Config(), total_steps=10)
    lookahead.after_step(5)
    net.running_mean.fill_(5.0)  # type: ignore[union-attr]
    net.num_batches_tracked.fill_(9)  # type: ignore[union-attr]
    lookahead.finish()
    assert not net.running_mean.any()  # type: ignore[union-attr]
    assert net.num_batches_tracked == 9


def test_mixed_precisions() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1).bfloat16(), nn.BatchNorm2d(1))
    lookahead = Lookahead(net, Config(every=1), total_steps=10)
    lookahead.after_step(3)
    assert net[0].weight.dtype == torch.bfloat16
