"""Momentum normalised to a fixed size, for biases and other vectors."""

from collections.abc import Iterable
from typing import Any

import torch

from airbench.optim.base import GroupwiseOptimizer
from airbench.optim.decay import limit_norms
from airbench.optim.groups import OptimizerContext, ParamGroup
from airbench.recipe import optimizers as schema


class NormalizedMomentum(GroupwiseOptimizer):
    """Momentum divided by its root mean square: the RMS update per element is lr, whatever the gradient.

    A step, with gradient g and buffer b: b ← momentum · b + (1 - momentum) · g;
    p ← p · (1 - lr · weight_decay) - lr · b / (rms(b) + eps). ``max_momentum_norm``: maximum norm of b, which is
    scaled down to it before it is used; the step keeps its size, and later gradients weigh more in its direction.

    Raises ValueError for a setting out of range, a sparse gradient, and a complex parameter.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.9,
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        max_momentum_norm: float | None = None,
    ):
        defaults = {"lr": lr, "momentum": momentum, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "max_momentum_norm": max_momentum_norm})

    def _in_range(self, settings: dict[str, Any]) -> dict[str, bool]:
        return {
            **super()._in_range(settings),
            "eps": settings["eps"] > 0,
        }

    def _step_group(self, group: dict[str, Any]) -> None:
        lr = group["lr"]
        for p in group["params"]:
            if p.grad is None:
                continue
            if p.grad.is_sparse or p.is_complex():
                raise ValueError("NormalizedMomentum: sparse gradients and complex parameters are not supported")
            buffer = self._buffer(p).lerp_(p.grad, 1 - group["momentum"])
            limit_norms([buffer], group["max_momentum_norm"])
            wide = buffer.to(torch.promote_types(buffer.dtype, torch.float32))  # float16 has no 1e-8
            rms = wide.square().mean().sqrt()
            p.mul_(1 - lr * group["weight_decay"]).sub_(lr * wide / (rms + group["eps"]))


def build(config: schema.NormalizedMomentum, group: ParamGroup, context: OptimizerContext) -> NormalizedMomentum:
    """Build the optimizer that ``config`` describes for ``group``."""
    return NormalizedMomentum(
        group.params,
        lr=config.lr,
        momentum=config.momentum,
        eps=config.eps,
        weight_decay=config.weight_decay,
        max_momentum_norm=config.max_momentum_norm,
    )
