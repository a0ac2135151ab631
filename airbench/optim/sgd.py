"""SGD with momentum, PyTorch's own unless its norm is limited; lr may be decoupled from batch size and momentum."""

import math

import torch

from airbench.errors import RecipeError
from airbench.optim.groups import OptimizerContext, ParamGroup
from airbench.optim.limited_sgd import LimitedSGD
from airbench.recipe import optimizers as schema


def build_sgd(config: schema.SGD, group: ParamGroup, context: OptimizerContext) -> torch.optim.Optimizer:
    """Build the optimizer that ``config`` describes for ``group``. Raises RecipeError if float32 cannot hold it."""
    lr, weight_decay = sgd_hyperparameters(config, context.batch_size)
    if not max(lr, weight_decay) <= torch.finfo(torch.float32).max or lr == 0:
        raise RecipeError(
            f"optimizers.{group.name}: lr = {config.lr:g} and weight_decay = {config.weight_decay:g} become {lr:.3g} "
            f"and {weight_decay:.3g} in torch.optim.SGD, beyond float32; choose less extreme values"
        )
    if config.max_momentum_norm is not None:
        return LimitedSGD(
            group.params,
            lr,
            config.momentum,
            max_momentum_norm=config.max_momentum_norm,
            nesterov=config.nesterov and config.momentum > 0,
            weight_decay=weight_decay,
        )
    return torch.optim.SGD(
        group.params,
        lr=lr,
        weight_decay=weight_decay,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,
        fused=context.fused(group),
    )


def sgd_hyperparameters(config: schema.SGD, batch_size: int) -> tuple[float, float]:
    """Return (lr, weight_decay) in the units of torch.optim.SGD, for a loss summed over ``batch_size`` examples.

    With k = 1024 · (1 + 1 / (1 - momentum)), decoupled settings give lr / k and weight_decay · batch_size / k / lr
    (Jordan 2024, section 2): the effect of an example and of weight decay then depends neither on batch size
    nor on momentum.
    """
    kilostep_scale = 1024 * (1 + 1 / (1 - config.momentum))
    lr = config.lr * config.lr_scale / (kilostep_scale if config.lr_unit == "per_1024_examples" else 1)
    if config.weight_decay_unit == "coupled":
        return lr, config.weight_decay
    per_1024 = config.weight_decay_unit == "per_1024_examples"
    per_example = config.weight_decay / (kilostep_scale if per_1024 else 1)
    return lr, per_example * batch_size / lr if lr else math.inf
