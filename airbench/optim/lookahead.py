"""Lookahead (Zhang et al. 2019), with the growing decay of airbench94."""

import torch
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.recipe import averages as schema


class Lookahead:
    """A slow copy of every floating-point weight and buffer of ``net``, to which the net is reset."""

    def __init__(self, net: nn.Module, config: schema.Lookahead, total_steps: int):
        self.fast = [t for t in net.state_dict().values() if t.is_floating_point()]
        self.slow = [t.clone() for t in self.fast]
        self.config, self.total_steps = config, total_steps
        self._begun = False

    def after_step(self, steps_done: int) -> None:
        """Update the slow copy and reset the net to it, every ``every`` steps."""
        if steps_done % self.config.every == 0:
            self._begun = True
            self._update(step_size(self.config, steps_done, self.total_steps))

    def finish(self) -> None:
        """Copy the slow weights into the net. A training of fewer steps than ``every`` keeps what it trained."""
        if self._begun:
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


def step_size(config: schema.Lookahead, steps_done: int, total_steps: int) -> float:
    """Return the fraction of the way to the net that the slow copy moves after ``steps_done`` of ``total_steps``."""
    return 1 - config.decay**config.every * (steps_done / total_steps) ** config.power


def check_lookahead(config: schema.Lookahead | None, steps: int, total_steps: int) -> None:
    """Raise RecipeError if the slow copy, which the net ends as, would never move in a training of ``steps`` steps.

    ``total_steps``: those that the formula counts, which may be one more.
    """
    if config is None or config.every > steps:
        return
    if not any(step_size(config, step, total_steps) > 0 for step in range(config.every, steps + 1, config.every)):
        raise RecipeError(
            f"lookahead.decay = {config.decay:g}: with every = {config.every} and power = {config.power:g} the slow "
            f"copy never moves in {steps} steps, so that the net would end as it began; give a smaller decay"
        )
