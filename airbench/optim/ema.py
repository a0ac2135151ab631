"""Exponential moving average of the weights (Polyak & Juditsky 1992)."""

import torch
from torch import nn

from airbench.recipe import averages as schema


class ExponentialAverage:
    """A float32 average of every floating-point weight and buffer of ``net``, which training does not feel."""

    def __init__(self, net: nn.Module, config: schema.EMA, total_steps: int):
        self.config = config
        self.begin = round(config.start * total_steps)
        self.weights = [t for t in net.state_dict().values() if t.is_floating_point()]
        self.average = [t.to(torch.float32, copy=True) for t in self.weights]
        self._now = [torch.empty_like(t) for t in self.average]

    @torch.no_grad()
    def after_step(self, steps_done: int) -> None:
        """Move the average, every ``every`` steps; until it begins, it is the weights."""
        if steps_done <= self.begin:
            torch._foreach_copy_(self.average, self.weights)
        elif steps_done % self.config.every == 0:
            torch._foreach_copy_(self._now, self.weights)
            torch._foreach_lerp_(self.average, self._now, 1 - self.config.decay**self.config.every)

    @torch.no_grad()
    def finish(self) -> None:
        """Copy the average into the net."""
        torch._foreach_copy_(self.weights, self.average)
