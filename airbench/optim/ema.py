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
        self._done = self._included = 0
        """Steps done, and how many of them the average includes."""

    @torch.no_grad()
    def after_step(self, steps_done: int) -> None:
        """Begin at the weights, then move the average, every ``every`` steps."""
        self._done = steps_done
        if steps_done == self.begin:
            torch._foreach_copy_(self.average, self.weights)
            self._included = steps_done
        elif steps_done > self.begin and steps_done % self.config.every == 0:
            self._move()

    def _move(self) -> None:
        """Include the weights as they are after the last step."""
        torch._foreach_copy_(self._now, self.weights)
        torch._foreach_lerp_(self.average, self._now, 1 - self.config.decay ** (self._done - self._included))
        self._included = self._done

    @torch.no_grad()
    def finish(self) -> None:
        """Move the average for the steps since it was moved last, and copy it into the net.

        A training that ends before the average begins keeps its weights.
        """
        if self._done < self.begin:
            return
        if self._included < self._done:
            self._move()
        torch._foreach_copy_(self.weights, self.average)
