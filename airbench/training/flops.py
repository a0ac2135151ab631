"""The floating-point operations of a trial."""

import math
from collections.abc import Hashable

import torch
from torch.utils.flop_counter import FlopCounterMode

from airbench.data.batch import Batch
from airbench.data.transforms import ImageShape
from airbench.net.base import Net, build_net
from airbench.optim.groups import route
from airbench.optim.optimizers import Optimizers
from airbench.recipe import Recipe
from airbench.training.engine import EAGER, forward_loss
from airbench.training.evaluate import num_augmented, num_correct, views
from airbench.training.plan import Plan
from airbench.training.setup import net_context
from airbench.training.step import train_step


def count_flop(
    recipe: Recipe, steps: int, test_images: int, shape: ImageShape, per_epoch: float | None = None
) -> dict[str, float]:
    """Count the floating-point operations (a multiply-add is 2) of an average step, the final evaluation, and a trial.

    Uses PyTorch's FlopCounterMode (convolutions and matrix products, including backward and Newton-Schulz) on the
    meta device, where nothing is computed. What a step does not execute is not counted: images that are dropped, pixels
    of smaller images, gradients of frozen groups. The steps include those of the small net that selects examples.
    There are ``per_epoch`` steps in an epoch (None: ``steps`` divided by the recipe's epochs).
    """
    net = _net(recipe, shape)
    per_epoch = per_epoch or steps / recipe.train.epochs
    training = _training_flop(recipe, net, Plan(recipe.train, steps, per_epoch, shape.side), shape)
    small, selection = recipe.of_proxy(), recipe.train.selection
    if small is not None and selection is not None and selection.proxy is not None:
        plan = Plan(small.train, steps, per_epoch, shape.side)
        training += _proxy_flop(small, plan, selection.proxy.backward_every, shape)
    evaluate = recipe.evaluate
    images = torch.empty(1, shape.channels, shape.side, shape.side, device="meta")
    with FlopCounterMode(display=False) as counter:
        num_correct(net, images, torch.empty(1, dtype=torch.int64, device="meta"), evaluate.without_tta())
    forwards = test_images + num_augmented(evaluate, test_images) * (len(views(evaluate)) - 1)
    evaluation = counter.get_total_flops() * forwards
    return {"step": training / steps, "evaluation": evaluation, "trial": training + evaluation}


def _net(recipe: Recipe, shape: ImageShape) -> Net:
    return build_net(recipe.net, net_context(recipe, shape), torch.device("meta"), torch.float32)


def _training_flop(recipe: Recipe, net: Net, plan: Plan, shape: ImageShape) -> float:
    """Count all steps of a training, kind by kind, and for each kind with the groups frozen that are by then."""
    size = recipe.train.batch_size
    optimizers = Optimizers(
        route(net, recipe.optimizers),
        batch_size=size,
        total_steps=max(plan.total_steps, 2),  # a schedule needs two
        steps_per_epoch=plan.per_epoch,
    )
    whole, counted = _batch(size, shape), 0.0
    steps: dict[Hashable, list[int]] = {}
    for step in range(plan.total_steps):
        steps.setdefault((plan.at(step), optimizers.trained_at(step)), []).append(step)
    for alike in steps.values():
        optimizers.before_step(alike[0])
        batch = plan.at(alike[0]).example(whole)
        with FlopCounterMode(display=False) as counter:
            train_step(forward_loss(net, recipe.train.label_smoothing, EAGER), optimizers, batch)
        counted += counter.get_total_flops() * len(alike)
    return counted


def _proxy_flop(recipe: Recipe, plan: Plan, backward_every: int, shape: ImageShape) -> float:
    """Count a proxy's training: a whole step on every ``backward_every``-th batch, a forward pass on the others."""
    net, forward = _net(recipe, shape), 0.0
    for kind, count in plan.steps_by_kind().items():
        batch = kind.example(_batch(recipe.train.batch_size, shape))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(batch.images)
        forward += counter.get_total_flops() * count
    share = math.ceil(plan.total_steps / backward_every) / plan.total_steps
    return _training_flop(recipe, net, plan, shape) * share + forward * (1 - share)


def _batch(size: int, shape: ImageShape) -> Batch:
    images = torch.empty(size, shape.channels, shape.side, shape.side, device="meta")
    labels = torch.empty(size, dtype=torch.int64, device="meta")
    return Batch(images, labels, labels)
