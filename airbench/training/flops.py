"""The floating-point operations of a trial."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from airbench.data.batch import Batch
from airbench.data.transforms import ImageShape
from airbench.net.base import build_net
from airbench.optim.groups import route
from airbench.optim.optimizers import Optimizers
from airbench.recipe import Recipe
from airbench.training.engine import EAGER, forward_loss
from airbench.training.evaluate import num_augmented, num_correct, views
from airbench.training.resolution import Resolution
from airbench.training.setup import net_context
from airbench.training.step import train_step


def count_flop(recipe: Recipe, steps: int, test_images: int, shape: ImageShape) -> dict[str, float]:
    """Count the floating-point operations (a multiply-add is 2) of an average step, the final evaluation, and a trial.

    Uses PyTorch's FlopCounterMode (convolutions and matrix products, including backward and Newton-Schulz) on the
    meta device, where nothing is computed.
    """
    meta = torch.device("meta")
    net = build_net(recipe.net, net_context(recipe, shape), meta, torch.float32)
    size = recipe.train.batch_size
    optimizers = Optimizers(
        route(net, recipe.optimizers), batch_size=size, total_steps=max(steps, 2), steps_per_epoch=max(steps, 2)
    )
    images = torch.empty(size, shape.channels, shape.side, shape.side, device=meta)
    labels = torch.empty(size, dtype=torch.int64, device=meta)
    resolution = Resolution(recipe.train.resolution, steps, shape.side)
    training = 0.0
    for first, count in zip(resolution.first_steps(), resolution.steps_by_side().values(), strict=True):
        optimizers.before_step(0)
        batch = resolution.of(Batch(images, labels, labels), first)
        with FlopCounterMode(display=False) as counter:
            train_step(forward_loss(net, recipe.train.label_smoothing, EAGER), optimizers, batch)
        training += counter.get_total_flops() * count
    evaluate = recipe.evaluate
    with FlopCounterMode(display=False) as counter:
        num_correct(net, images[:1], labels[:1], evaluate.without_tta())
    forwards = test_images + num_augmented(evaluate, test_images) * (len(views(evaluate)) - 1)
    evaluation = counter.get_total_flops() * forwards
    return {"step": training / steps, "evaluation": evaluation, "trial": training + evaluation}
