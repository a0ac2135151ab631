"""Lookahead (Zhang et al. 2019), with the growing decay of airbench94."""

import torch
from torch import Tensor, nn

from airbench.recipe import optimizers as schema


class Lookahead:
    """A slow copy of every floating-point weight and buffer of ``net``, to which the net is set back."""

    def __init__(self, net: nn.Module, knobs: schema.Lookahead, total_steps: int):
        self.fast = [t for t in net.state_dict().values() if t.is_floating_point()]
        self.slow = [t.clone() for t in self.fast]
        self.knobs, self.total_steps = knobs, total_steps

    def after_step(self, steps_done: int) -> None:
        """To be called when ``steps_done`` steps have been taken; acts every ``every`` steps."""
        if steps_done % self.knobs.every == 0:
            share = (steps_done / self.total_steps) ** self.knobs.power
            self._update(1 - self.knobs.decay**self.knobs.every * share)

    def finish(self) -> None:
        """Leave the slow weights in the net."""
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
