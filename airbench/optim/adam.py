"""Adam and AdamW, from PyTorch."""

import torch

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
        group.params,
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=context.fused(group),
        capturable=context.captured,
    )
