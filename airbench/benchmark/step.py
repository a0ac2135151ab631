"""A training step to be measured: everything that it takes, on random images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from airbench.device import Machine
from airbench.net.cifarnet import CifarNet, build_net
from airbench.optim.routing import Optimizers, route
from airbench.recipe import Recipe
from airbench.training.step import train_step
from airbench.training.trial import TrialSeeds

SEEDS = TrialSeeds(0, 0, 0)


@dataclass(frozen=True)
class Step:
    """A step of a recipe; call it to take it."""

    net: CifarNet
    optimizers: Optimizers
    images: Tensor
    labels: Tensor
    smoothing: float

    def __call__(self) -> None:
        """Forward, backward, update."""
        train_step(self.net, self.optimizers, self.images, self.labels, self.smoothing)


def build_step(
    recipe: Recipe, machine: Machine, dtype: torch.dtype, batch: int, side: int = 32, classes: int = 10
) -> Step:
    """A step of ``recipe`` in ``dtype``, with ``batch`` random images ``(batch, 3, side, side)``."""
    net = build_net(recipe.net, classes, side, machine.device, dtype)
    net.reset(SEEDS.generator("init"))
    net.train()
    images = torch.randn(batch, 3, side, side, generator=SEEDS.generator("augment"))
    images = images.to(machine.device, dtype).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, (batch,), generator=SEEDS.generator("order")).to(machine.device)
    net.set_whitening(images.float())
    optimizers = Optimizers(route(net, recipe.optimizers), batch_size=batch, total_steps=10**6, steps_per_epoch=10**6)
    optimizers.before_step(0)
    return Step(net, optimizers, images, labels, recipe.train.label_smoothing)


def with_fused(recipe: Recipe, fused: bool) -> Recipe:
    """The same recipe with ``net.fused`` so: by the kernels for a CPU, or by PyTorch's own operations."""
    return recipe.model_copy(update={"net": recipe.net.model_copy(update={"fused": fused})})
