"""SGD whose momentum has a maximum norm, which torch.optim.SGD does not offer."""

from collections.abc import Iterable
from typing import Any

import torch

from airbench.optim.base import GroupwiseOptimizer
from airbench.optim.decay import add, limit_norms


class LimitedSGD(GroupwiseOptimizer):
    """torch.optim.SGD with a limit on the Frobenius norm of each parameter's momentum buffer.

    A step, with gradient g and buffer b: g ← g + weight_decay · p; b ← momentum · b + g, scaled down to
    ``max_momentum_norm`` if it is larger; p ← p - lr · (g + momentum · b) (nesterov) or p - lr · b. ``lr`` may be a
    tensor on the device. Raises ValueError for a setting out of range, and for a sparse gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.85,
        *,
        max_momentum_norm: float,
        nesterov: bool = True,
        weight_decay: float = 0.0,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "max_momentum_norm": max_momentum_norm,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def _in_range(self, settings: dict[str, Any]) -> dict[str, bool]:
        return {
            **super()._in_range(settings),
            "max_momentum_norm": settings["max_momentum_norm"] > 0,
        }

    def _step_group(self, group: dict[str, Any]) -> None:
        params = self._with_gradient(group)
        if not params:
            return
        momentum = group["momentum"]
        gradients = [p.grad for p in params if p.grad is not None]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, params, alpha=group["weight_decay"]))
        buffers = [self._buffer(p) for p in params]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        limit_norms(buffers, group["max_momentum_norm"])
        updates = torch._foreach_add(gradients, buffers, alpha=momentum) if group["nesterov"] else buffers
        for p, update in zip(params, updates, strict=True):
            add(p, update, group["lr"], -1.0)
