"""State shared by the trials of a recipe: images on the device, a net that each trial resets, parameter groups."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.dataset import Dataset
from airbench.data.loader import DeviceSplit, Loader, to_device
from airbench.data.subset import read_subset
from airbench.data.transforms import ImageShape, build_transforms
from airbench.device import Machine
from airbench.errors import OUT_OF_MEMORY, RecipeError, TrialError, is_out_of_memory
from airbench.net.base import Net, NetContext, build_net, check_reset, prepare
from airbench.optim.averages import Averages
from airbench.optim.groups import check_last_step, route
from airbench.optim.lookahead import check_lookahead
from airbench.optim.optimizers import Optimizers
from airbench.recipe import Recipe
from airbench.recipe.schema import Evaluate
from airbench.recipe.selections import SELECTIONS
from airbench.training.engine import Execution, ForwardLoss, forward, forward_loss
from airbench.training.evaluate import count_correct, predict
from airbench.training.plan import Plan
from airbench.training.results import TrialSeeds
from airbench.training.selection.base import Selection
from airbench.training.step import GraphStep, TrainingStep


class TrialSetup:
    """State shared by the trials of a recipe. Raises RecipeError if it does not fit the images or the device."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        machine: Machine,
        *,
        net: Net | None = None,
        train: DeviceSplit | None = None,
    ):
        """``net`` and ``train``, which are on the machine already, replace the recipe's net and training images."""
        self.recipe, self.machine = recipe, machine
        self.shape, self.classes = image_shape(dataset), dataset.classes
        self.train = training_images(recipe, dataset, machine) if train is None else train
        self.test = to_device(dataset.test, dataset, machine.device)
        batch = recipe.train.batch_size
        if batch > len(self.train):
            raise RecipeError(
                f"train.batch_size = {batch}: there are only {len(self.train)} training images; give no more"
            )
        self.steps_per_epoch = recipe.train.steps_per_epoch(len(self.train))
        self.total_steps = recipe.train.total_steps(len(self.train))
        check_lookahead(recipe.lookahead, self.fewest_steps, self.total_steps)
        context = net_context(recipe, self.shape)
        self.net = build_net(recipe.net, context, machine.device, machine.dtype) if net is None else net
        self.plan = Plan(recipe.train, self.total_steps, self.steps_per_epoch, self.shape.side)
        if net is None:
            check_reset(recipe.net, context)
            with torch.no_grad():
                self._check_output(self.net.eval()(self._blank_images(self.shape.side)))
            self._check_resolution()
        else:
            self._check_own_net()
        self.groups = route(self.net, recipe.optimizers)
        check_last_step(self.groups, self.total_steps, self.steps_per_epoch)
        self.proxy = self._proxy(dataset)
        """What trains the small net that selects examples, if there is one."""
        self.selection = self._selection()
        """Chooses the examples that are trained on."""
        self.execute(Execution.choose(recipe, machine))
        # Built anew for each trial, and here to learn at once of settings that do not fit the images or parameters.
        build_transforms(recipe.data.augment, self.shape)
        self.new_optimizers()

    def _proxy(self, dataset: Dataset) -> "TrialSetup | None":
        recipe = self.recipe.of_proxy()
        if recipe is None:
            return None
        try:
            return TrialSetup(recipe, dataset, self.machine, train=self.train)
        except RecipeError as error:
            raise RecipeError(f"train.selection.net, the small net: {error}") from None

    def _selection(self) -> Selection:
        config = self.recipe.train.selection
        if config is None:
            return Selection()
        selection: Selection = SELECTIONS.build(config, self)
        return selection

    def _check_resolution(self) -> None:
        """Raise RecipeError if the net does not take the images of every stage."""
        for side in {kind.side for kind in self.plan.steps_by_kind()}:
            if side == self.shape.side:
                continue
            if side > self.shape.side:
                raise RecipeError(
                    f"train.resolution: side {side} is larger than that of the images, {self.shape.side}; leave it out"
                )
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
        if self.proxy is not None:
            self.proxy.execute(replace(execution, cuda_graph=False))
        self._forward_losses: dict[float, ForwardLoss] = {}
        self.forward = forward(self.net, execution)
        self.graph: GraphStep | None = None
        """The captured step, if ``execution`` asks for one; set by the warm-up."""

    @torch.no_grad()
    def _check_own_net(self) -> None:
        """Raise RecipeError if the given net does not classify the images of every stage."""
        self.net.eval()
        for side in {kind.side for kind in self.plan.steps_by_kind()}:
            try:
                logits = self.net(self._blank_images(side))
            except Exception as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                raise RecipeError(
                    f"the net does not take {self.shape.channels}×{side}×{side} images: {reason}"
                ) from error
            self._check_output(logits)

    def _blank_images(self, side: int) -> Tensor:
        images = torch.zeros(2, self.shape.channels, side, side, device=self.machine.device)
        return images.to(self.machine.dtype, memory_format=torch.channels_last)

    def _check_output(self, logits: object) -> None:
        """Raise RecipeError if the net's output for two images is no logits of the classes."""
        if not isinstance(logits, Tensor):
            raise RecipeError(f"the net's output is of type {type(logits).__name__}: it must be a tensor of logits")
        if tuple(logits.shape) != (2, self.shape.classes):
            raise RecipeError(
                f"the net's output for 2 images is {tuple(logits.shape)}; for these classes it must be "
                f"(2, {self.shape.classes})"
            )

    def forward_loss(self, step: int) -> ForwardLoss:
        """Return net and loss as ``step`` executes them."""
        smoothing = self.plan.at(step).label_smoothing
        if smoothing not in self._forward_losses:
            self._forward_losses[smoothing] = forward_loss(self.net, smoothing, self.execution)
        return self._forward_losses[smoothing]

    @property
    def fewest_steps(self) -> int:
        """The minimum number of steps of a trial."""
        return self.total_steps if self.recipe.train.round_steps == "up" else max(1, self.total_steps - 1)

    def last_step(self, seeds: TrialSeeds) -> int:
        """Return the number of steps of a trial: the total, or one less if they are rounded at random."""
        if self.recipe.train.round_steps == "up":
            return self.total_steps
        missing = self.total_steps - self.recipe.train.epochs * self.steps_per_epoch
        chance = torch.rand((), generator=seeds.generator("order", "steps"), dtype=torch.float64).item()
        return max(1, self.total_steps - (chance < missing))

    def new_optimizers(self) -> Optimizers:
        """Build fresh optimizers."""
        return Optimizers(
            self.groups,
            batch_size=self.recipe.train.batch_size,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            captured=self.execution.cuda_graph,
        )

    def new_step(self) -> TrainingStep | GraphStep:
        """Return the step that a trial repeats, with fresh optimizers."""
        if self.graph:
            self.graph.optimizers.reset()
            return self.graph
        return self._fresh_step()

    def _fresh_step(self) -> TrainingStep:
        return TrainingStep(self.selection, self.plan, self.forward_loss, self.new_optimizers())

    def capture(self, example: Batch) -> None:
        """Capture the step as CUDA graphs, for all trials from now on. ``example`` is any batch."""
        self.graph = None  # its memory is free for the new one
        graph = GraphStep(self._fresh_step(), example)
        graph.prepare()
        self.graph = graph

    def new_loader(self, seeds: TrialSeeds) -> Loader:
        """Normalise and pad all training images, and return their loader."""
        return Loader(
            self.train,
            build_transforms(self.recipe.data.augment, self.shape),
            self.recipe.train.batch_size,
            self.machine.dtype,
            order=seeds.generator("order"),
            augment=seeds.generator("augment"),
            last_batch=self.recipe.train.last_batch,
        )

    def unfreeze(self) -> None:
        """Make the parameters trainable again that a trial has frozen after their ``train_epochs``."""
        for group in self.groups:
            for p in group.params:
                p.requires_grad_(True)

    def prepare_net(self) -> None:
        """Compute the layers of the net that depend on training images."""
        prepare(self.net, partial(self.train.normalized, self.machine.dtype))

    def num_correct(self, evaluate: Evaluate) -> Tensor:
        """Normalise the test images and return the number of correct predictions, as a tensor on the device."""
        return count_correct(self.predict(evaluate), self.test.labels)

    def predict(self, evaluate: Evaluate) -> Tensor:
        """Normalise the test images and return their logits ``(N, classes)``, float32 on the device."""
        return predict(self.net, self.test.normalized(self.machine.dtype), evaluate, self.forward)

    def new_averages(self) -> Averages:
        """Start the weight averages that the recipe asks for from the net's current weights."""
        return Averages(self.net, self.recipe.lookahead, self.recipe.ema, self.total_steps)


def training_images(recipe: Recipe, dataset: Dataset, machine: Machine) -> DeviceSplit:
    """Move the training images of ``recipe`` to the device: all, the first few, or a subset."""
    wanted, there = recipe.data.train_images, len(dataset.train)
    if wanted is not None and wanted > there:
        raise RecipeError(f"data.train_images = {wanted}: {dataset.source} has {there} training images; give no more")
    if recipe.data.subset is None:
        return to_device(dataset.train, dataset, machine.device, wanted)
    chosen = read_subset(recipe.data.subset, there)
    part = replace(dataset.train, images=dataset.train.images[chosen], labels=dataset.train.labels[chosen])
    return to_device(part, dataset, machine.device)


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
