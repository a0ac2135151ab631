"""Lookahead (Zhang et al. 2019), with the growing decay of airbench94."""

import torch
from torch import Tensor, nn

from airbench.recipe import averages as schema


class Lookahead:
    """A slow copy of every floating-point weight and buffer of ``net``, to which the net is reset."""

    def __init__(self, net: nn.Module, config: schema.Lookahead, total_steps: int):
        self.fast = [t for t in net.state_dict().values() if t.is_floating_point()]
        self.slow = [t.clone() for t in self.fast]
        self.config, self.total_steps = config, total_steps

    def after_step(self, steps_done: int) -> None:
        """Update the slow copy and reset the net to it, every ``every`` steps."""
        if steps_done % self.config.every == 0:
            share = (steps_done / self.total_steps) ** self.config.power
            self._update(1 - self.config.decay**self.config.every * share)

    def finish(self) -> None:
        """Copy the slow weights into the net."""
        self._update(0.0)

    @torch.no_grad()
    def _update(self, towards_fast: float) -> None:
        groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for slow, fast in zip(self.slow, self.fast, strict=True):
            pair = groups.setdefault(slow.dtype, ([], []))
            pair[0].append(slow)
            pair[1].append(fast)
        for slows, fasts in groups.values():
            torch._foreach_lerp_(slows, fasts, towards_fast)
            torch._foreach_copy_(fasts, slows)
