"""Adam and AdamW, from PyTorch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from airbench.optim.groups import OptimizerContext, ParamGroup
from airbench.recipe import optimizers as schema


def build_adam(config: schema.Adam, group: ParamGroup, context: OptimizerContext) -> torch.optim.Adam:
    """Build the optimizer that ``config`` describes for ``group``."""
    return _build(torch.optim.Adam, config, group, context)


def build_adamw(config: schema.AdamW, group: ParamGroup, context: OptimizerContext) -> torch.optim.Adam:
    """Build the optimizer that ``config`` describes for ``group``."""
    return _build(torch.optim.AdamW, config, group, context)


def _build(
    kind: type[torch.optim.Adam], config: schema.Adam | schema.AdamW, group: ParamGroup, context: OptimizerContext
) -> torch.optim.Adam:
    return kind(
        [{"params": params, "lr": lr} for lr, params in _by_lr(config, group.params).items()],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=context.fused(group),
        capturable=context.captured,
    )


def _by_lr(config: schema.Adam | schema.AdamW, params: Sequence[Tensor]) -> dict[float, list[Tensor]]:
    """Return the parameters by learning rate."""
    found: dict[float, list[Tensor]] = {}
    for p in params:
        inputs = p[0].numel() if config.adjust_lr == "fan_in" and p.ndim > 1 else 1
        found.setdefault(config.lr / inputs, []).append(p)
    return found
