"""A training step to be measured, on random images."""

from dataclasses import dataclass
from typing import Any

import torch

from airbench.data.batch import Batch
from airbench.data.sources import load_dataset
from airbench.data.transforms import ImageShape
from airbench.device import Machine
from airbench.net.base import Net, build_net, prepare
from airbench.optim.groups import route
from airbench.optim.optimizers import Optimizers
from airbench.recipe import Recipe
from airbench.recipe.data import DATASETS
from airbench.training.engine import EAGER, ForwardLoss, forward_loss
from airbench.training.results import TrialSeeds
from airbench.training.setup import image_shape, net_context
from airbench.training.step import train_step

SEEDS = TrialSeeds(0, 0, 0)

CIFAR = ImageShape(side=32, channels=3, classes=10)


@dataclass(frozen=True)
class MeasuredStep:
    """A training step of a recipe; call it to run it."""

    net: Net
    optimizers: Optimizers
    batch: Batch
    forward_loss: ForwardLoss
    label_smoothing: float

    def __call__(self) -> None:
        """Forward, backward, update."""
        train_step(self.forward_loss, self.optimizers, self.batch)


def shape_of(recipe: Recipe) -> ImageShape:
    """Return the shape of a recipe's images; reads them only where their data set does not tell it."""
    spec = DATASETS[recipe.data.name]
    if spec.side and spec.channels and spec.classes:
        return ImageShape(spec.side, spec.channels, len(spec.classes))
    return image_shape(load_dataset(recipe.data))


def new_net(recipe: Recipe, machine: Machine, dtype: torch.dtype, shape: ImageShape = CIFAR) -> Net:
    """Build the net of ``recipe`` for images of ``shape``, initialised."""
    net = build_net(recipe.net, net_context(recipe, shape), machine.device, dtype)
    net.reset(SEEDS.generator("init"))
    return net


def random_images(batch: int, shape: ImageShape, machine: Machine, dtype: torch.dtype) -> torch.Tensor:
    """Draw normalised images ``(batch, C, side, side)``, channels-last."""
    images = torch.randn(batch, shape.channels, shape.side, shape.side, generator=SEEDS.generator("augment"))
    return images.to(machine.device, dtype).contiguous(memory_format=torch.channels_last)


def build_step(
    recipe: Recipe, machine: Machine, dtype: torch.dtype, batch: int, shape: ImageShape = CIFAR
) -> MeasuredStep:
    """Build a step of ``recipe`` in ``dtype`` on ``batch`` random images of ``shape``."""
    net = new_net(recipe, machine, dtype, shape)
    net.train()
    images = random_images(batch, shape, machine, dtype)
    labels = torch.randint(shape.classes, (batch,), generator=SEEDS.generator("order")).to(machine.device)
    prepare(net, lambda count: images[:count].float())
    optimizers = Optimizers(route(net, recipe.optimizers), batch_size=batch, total_steps=10**6, steps_per_epoch=10**6)
    optimizers.before_step(0)
    smoothing = recipe.train.label_smoothing
    return MeasuredStep(net, optimizers, Batch(images, labels, labels), forward_loss(net, smoothing, EAGER), smoothing)


def with_engine(recipe: Recipe, **settings: Any) -> Recipe:
    """Return the recipe with these settings of its ``engine``, such as ``fused=False``."""
    return recipe.model_copy(update={"engine": recipe.engine.model_copy(update=settings)})
