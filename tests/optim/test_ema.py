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
@pytest.mark.parametrize(("every", "start"), [(1, 0.0), (3, 0.0), (2, 0.4)])
def test_it_is_the_average_of_a_loop(dtype: torch.dtype, every: int, start: float) -> None:
    net = nn.Linear(3, 2).to(dtype)
    drifting(net, 0)
    ema = ExponentialAverage(net, EMA(every=every, decay=0.9, start=start), total_steps=20)
    expected = net.weight.double()
    for step in range(1, 21):
        drifting(net, step)
        ema.after_step(step)
        if step <= round(start * 20):
            expected = net.weight.double()
        elif step % every == 0:
            expected = 0.9**every * expected + (1 - 0.9**every) * net.weight.double()
    trained = net.weight.clone()
    assert not torch.allclose(trained.double(), expected, rtol=0.05)
    ema.finish()
    torch.testing.assert_close(net.weight, expected.to(dtype), rtol=1e-5, atol=0)


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
