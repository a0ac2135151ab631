"""The weight averages of a recipe, updated as one."""

from torch import nn

from airbench.optim.ema import ExponentialAverage
from airbench.optim.lookahead import Lookahead
from airbench.recipe import averages as schema


class Averages:
    """Lookahead or the exponential moving average, if a recipe has one."""

    def __init__(self, net: nn.Module, lookahead: schema.Lookahead | None, ema: schema.EMA | None, total_steps: int):
        self._all: list[Lookahead | ExponentialAverage] = []
        if lookahead is not None:
            self._all.append(Lookahead(net, lookahead, total_steps))
        if ema is not None:
            self._all.append(ExponentialAverage(net, ema, total_steps))

    def after_step(self, steps_done: int) -> None:
        """Update each average that is due after ``steps_done`` steps."""
        for average in self._all:
            average.after_step(steps_done)

    def finish(self) -> None:
        """Copy the averages into the net, at the end of the training."""
        for average in self._all:
            average.finish()
