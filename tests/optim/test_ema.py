"""The exponential moving average against a loop over numbers in float64."""

import pytest
import torch
from torch import nn

from airbench.errors import RecipeError
from airbench.optim.averages import Averages
from airbench.optim.ema import ExponentialAverage
from airbench.recipe import load_recipe
from airbench.recipe.averages import EMA


def drifting(net: nn.Linear, step: int) -> None:
    with torch.no_grad():
        net.weight.copy_(torch.arange(6.0).reshape(2, 3) + step**1.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("every", "start"), [(1, 0.0), (3, 0.0), (2, 0.4), (5, 0.4), (7, 0.15), (50, 0.0)])
def test_it_is_the_average_of_a_loop(dtype: torch.dtype, every: int, start: float) -> None:
    net = nn.Linear(3, 2).to(dtype)
    drifting(net, 0)
    ema = ExponentialAverage(net, EMA(every=every, decay=0.9, start=start), total_steps=20)
    expected, seen = net.weight.double(), 0
    for step in range(1, 21):
        drifting(net, step)
        ema.after_step(step)
        begin = round(start * 20)
        if step <= begin:
            expected, seen = net.weight.double(), step
        elif step % every == 0 or step == 20:
            kept = 0.9 ** (step - seen)
            expected, seen = kept * expected + (1 - kept) * net.weight.double(), step
    trained = net.weight.clone()
    assert not torch.allclose(trained.double(), expected, rtol=0.05)
    ema.finish()
    torch.testing.assert_close(net.weight, expected.to(dtype), rtol=1e-5, atol=0)


def test_an_average_that_begins_at_the_end_is_the_trained_net_however_many_steps_there_were() -> None:
    for steps in (19, 20):  # 19: of a trial whose number of steps was rounded down at random
        net = nn.Linear(3, 2)
        ema = ExponentialAverage(net, EMA(start=1.0), total_steps=20)
        for step in range(1, steps + 1):
            drifting(net, step)
            ema.after_step(step)
        trained = net.weight.detach().clone()
        ema.finish()
        assert torch.equal(net.weight, trained)


def test_an_average_that_would_never_move_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"ema\.decay = 1\.0: input should be less than 1"):
        load_recipe("airbench94_muon", ["ema={decay: 1.0}"])


def test_before_it_begins_the_weights_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Linear(3, 2)
    ema = ExponentialAverage(net, EMA(start=0.5), total_steps=20)
    copies = []
    monkeypatch.setattr(torch, "_foreach_copy_", lambda *_: copies.append(1))
    for step in range(1, 11):
        ema.after_step(step)
    assert len(copies) == 1


def test_a_slow_average_moves_in_half_precision_too() -> None:
    """In bfloat16, 1 + 0.001 · (2 - 1) rounds to 1; the average is kept in float32."""
    net = nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.ones_(net.weight)
    ema = ExponentialAverage(net, EMA(every=1, decay=0.999), total_steps=1000)
    nn.init.constant_(net.weight, 2.0)
    for step in range(1, 701):
        ema.after_step(step)
    ema.finish()
    assert net.weight.item() == pytest.approx(2 - 0.999**700, rel=2**-8)


def test_training_does_not_feel_it_but_batch_statistics_are_averaged() -> None:
    net = nn.BatchNorm2d(2)
    averages = Averages(net, None, EMA(every=1, decay=0.5), total_steps=2)
    net.running_mean += 8.0  # type: ignore[operator]
    averages.after_step(1)
    assert net.running_mean.tolist() == [8, 8]  # type: ignore[union-attr]
    averages.finish()
    assert net.running_mean.tolist() == [4, 4]  # type: ignore[union-attr]


def test_one_average_is_enough() -> None:
    with pytest.raises(RecipeError, match="lookahead and ema both average the weights; give one of them"):
        load_recipe("airbench94", ["ema={decay: 0.9}"])
    assert load_recipe("airbench94", ["ema={decay: 0.9}", "lookahead=null"]).recipe.ema == EMA(decay=0.9)
