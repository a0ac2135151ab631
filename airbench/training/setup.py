"""State shared by the trials of a recipe: images on the device, a net that each trial resets, parameter groups."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.dataset import Dataset
from airbench.data.loader import Loader, to_device
from airbench.data.transforms import ImageShape, build_transforms
from airbench.device import Machine
from airbench.errors import OUT_OF_MEMORY, RecipeError, TrialError, is_out_of_memory
from airbench.net.base import NetContext, build_net, prepare
from airbench.optim.groups import route
from airbench.optim.lookahead import Lookahead
from airbench.optim.optimizers import Optimizers
from airbench.recipe import Recipe
from airbench.recipe.schedules import epochs_to_steps
from airbench.recipe.schema import Evaluate
from airbench.training.engine import Execution, forward, forward_loss
from airbench.training.evaluate import num_correct
from airbench.training.resolution import Resolution
from airbench.training.results import TrialSeeds
from airbench.training.step import GraphStep, Step, train_step


class TrialSetup:
    """State shared by the trials of a recipe. Raises RecipeError if it does not fit the images or the device."""

    def __init__(self, recipe: Recipe, dataset: Dataset, machine: Machine):
        self.recipe, self.machine = recipe, machine
        self.shape = image_shape(dataset)
        wanted, there = recipe.data.train_images, len(dataset.train)
        if wanted is not None and wanted > there:
            raise RecipeError(f"data.train_images = {wanted}: {dataset.source} has {there} training images")
        self.train = to_device(dataset.train, dataset, machine.device, wanted)
        self.test = to_device(dataset.test, dataset, machine.device)
        batch = recipe.train.batch_size
        if batch > len(self.train):
            raise RecipeError(f"train.batch_size = {batch}: there are only {len(self.train)} training images")
        self.steps_per_epoch = len(self.train) // batch
        self.total_steps = epochs_to_steps(recipe.train.epochs, self.steps_per_epoch)
        self.net = build_net(recipe.net, net_context(recipe, self.shape), machine.device, machine.dtype)
        self.resolution = Resolution(recipe.train.resolution, self.total_steps, self.shape.side)
        self._check_resolution()
        self.groups = route(self.net, recipe.optimizers)
        self.execute(Execution.choose(recipe, machine))

    def _check_resolution(self) -> None:
        """Raise RecipeError if the net does not take the images of every stage."""
        for side in self.resolution.steps_by_side():
            if side == self.shape.side:
                continue
            if side > self.shape.side:
                raise RecipeError(f"train.resolution: side {side} is larger than that of the images, {self.shape.side}")
            try:
                forward_on_meta(self.recipe, self.shape, side)
            except (RuntimeError, RecipeError):
                raise RecipeError(
                    f"train.resolution: the net does not take images of {side}×{side}; "
                    "cifarnet takes them with net.final_pool=global, unless they are too small for its groups"
                ) from None

    def execute(self, execution: Execution) -> None:
        """Execute steps as ``execution`` says from now on."""
        self.execution = execution
        self.forward_loss = forward_loss(self.net, self.recipe.train.label_smoothing, execution)
        self.forward = forward(self.net, execution)
        self.graph: GraphStep | None = None
        """The captured step, if ``execution`` asks for one; set by the warm-up."""

    def new_optimizers(self) -> Optimizers:
        """Build fresh optimizers."""
        return Optimizers(
            self.groups,
            batch_size=self.recipe.train.batch_size,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            captured=self.execution.cuda_graph,
        )

    def new_step(self) -> tuple[Optimizers, Step]:
        """Return fresh optimizers and the function that takes a step with them."""
        if self.graph:
            self.graph.optimizers.reset()
            return self.graph.optimizers, self.graph
        optimizers = self.new_optimizers()

        def step(batch: Batch) -> tuple[Tensor, Tensor]:
            return train_step(self.forward_loss, optimizers, batch)

        return optimizers, step

    def new_loader(self, seeds: TrialSeeds) -> Loader:
        """Normalise and pad all training images, and return their loader."""
        return Loader(
            self.train,
            build_transforms(self.recipe.data.augment, self.shape),
            self.recipe.train.batch_size,
            self.machine.dtype,
            order=seeds.generator("order"),
            augment=seeds.generator("augment"),
        )

    def prepare_net(self) -> None:
        """Compute the layers of the net that depend on training images."""
        prepare(self.net, partial(self.train.normalized, self.machine.dtype))

    def num_correct(self, evaluate: Evaluate) -> Tensor:
        """Normalise the test images and return the number of correct predictions, as a tensor on the device."""
        test = self.test.normalized(self.machine.dtype)
        return num_correct(self.net, test, self.test.labels, evaluate, self.forward)

    def new_lookahead(self) -> Lookahead | None:
        """Start lookahead from the net's current weights, if the recipe asks for it."""
        return Lookahead(self.net, self.recipe.lookahead, self.total_steps) if self.recipe.lookahead else None


def image_shape(dataset: Dataset) -> ImageShape:
    """Return side, channels and number of classes of the images."""
    _, side, _, channels = dataset.train.images.shape
    return ImageShape(side, channels, len(dataset.classes))


def forward_on_meta(recipe: Recipe, shape: ImageShape, side: int) -> None:
    """Apply the net of ``recipe`` to two images of ``side``, on the meta device, where nothing is computed."""
    net = build_net(recipe.net, net_context(recipe, shape), torch.device("meta"), torch.float32)
    net(torch.empty(2, shape.channels, side, side, device="meta"))


def net_context(recipe: Recipe, shape: ImageShape) -> NetContext:
    """Return the context for the factory of the recipe's net."""
    return NetContext(shape.classes, shape.side, shape.channels, recipe.engine.fused, recipe.engine.winograd)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Convert out-of-memory errors to a TrialError that says what to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrialError(OUT_OF_MEMORY) from None
