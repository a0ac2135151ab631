"""Train a recipe from Python."""

import gc
import inspect
import operator
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from airbench.data.dataset import Dataset
from airbench.data.own import Images, own_images
from airbench.data.sources import load_dataset
from airbench.device import Machine, choose_machine, prepare
from airbench.errors import DataError, RecipeError
from airbench.net.base import FLOAT32, Net
from airbench.optim.lost_decay import lost_decay
from airbench.recipe import Recipe
from airbench.recipe import load_recipe as load_recipe_file
from airbench.training.callback import Callback, Callbacks
from airbench.training.engine import Execution
from airbench.training.loop import run_trial
from airbench.training.loss import losses
from airbench.training.results import EpochRow, TrialResult, TrialSeeds
from airbench.training.saved import TrainedNet, trained_net
from airbench.training.setup import TrialSetup
from airbench.training.warmup import warm_up


@dataclass(frozen=True)
class TrainedTrial:
    """A trial that :func:`train` ran, with what it trained."""

    result: TrialResult
    trained: TrainedNet
    labels: Tensor
    """Labels of the test images, ``(N,)`` int64."""
    execution: Execution
    """How its steps were executed: compiled, captured, or neither, and why not."""

    def __repr__(self) -> str:
        """Return the outcome in a line; weights and logits would fill the screen."""
        seeds = self.result.seeds
        return f"TrainedTrial({self.accuracy:.2%} in {self.seconds:.1f} s, {len(self.labels)} test images, {seeds})"

    @property
    def net(self) -> nn.Module:
        """The trained net: normalised images ``(N, C, H, W)`` → logits."""
        return self.trained.net

    @property
    def accuracy(self) -> float:
        """Accuracy on the test images, with the recipe's test-time augmentation, between 0 and 1."""
        return self.result.accuracy

    @property
    def seconds(self) -> float:
        """Seconds on the clock."""
        return self.result.seconds

    @property
    def epochs(self) -> list[EpochRow]:
        """A row per epoch: loss and accuracy on its last batch, accuracy on the test images without TTA, seconds."""
        return self.result.epochs

    @property
    def logits(self) -> Tensor:
        """Logits of the test images, with the recipe's test-time augmentation, ``(N, classes)`` float32."""
        assert self.result.logits is not None
        return self.result.logits

    @property
    def losses(self) -> Tensor:
        """Cross-entropy of each test image, ``(N,)`` float32."""
        return losses(self.logits, self.labels, 0.0)

    def predict(self, images: Any, *, tta: bool = True) -> Tensor:
        """Classify uint8 images ``(N, H, W, C)`` or ``(N, C, H, W)``: logits ``(N, classes)``, float32, on the CPU.

        With the recipe's test-time augmentation unless ``tta`` is False. Raises DataError for images that do not fit.
        """
        return self.trained.logits(images, tta=tta)


def load_recipe(path: str | Path, *overrides: str) -> Recipe:
    """Load a recipe by the name of a shipped one or by its file, with overrides: ``"train.epochs=4"``.

    Raises airbench.errors.RecipeError, in one line.
    """
    if not isinstance(path, str | Path):
        raise RecipeError(f"{type(path).__name__}: give the name of a recipe, such as 'quickstart', or its file")
    if not all(isinstance(override, str) for override in overrides):
        raise RecipeError('give overrides one by one, as text: load_recipe("quickstart", "train.epochs=4", …)')
    return load_recipe_file(path, overrides).recipe


def load_images(recipe: str | Path | Recipe) -> Dataset:
    """Load all images of ``recipe``'s data set, in canonical order (see :func:`dataset.make_split`).

    ``.train`` and ``.test`` have ``images`` ``(N, H, W, C)`` uint8 and ``labels`` ``(N,)``. Of what the recipe
    chooses only ``data.held_out`` is applied. Raises DataError.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    return load_dataset(recipe.data)


def train(
    recipe: str | Path | Recipe,
    *,
    data: "Dataset | tuple[Images, Images] | None" = None,
    net: nn.Module | None = None,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
) -> TrainedTrial:
    """Run one timed trial of ``recipe``, after a warm-up.

    ``data`` replaces the recipe's images: ((training images, labels), (test images, labels)), in any order of one's
    own. If the recipe has ``data.held_out``, so many of the training images, the last ones, replace the test images,
    unless ``data`` is a :func:`load_images` that holds them out already. ``net`` replaces its net: a module from
    normalised images ``(N, C, H, W)`` to logits, whose parameters the recipe's optimizers must match; it starts from
    the weights that it has, or from its ``reset(generator)``, and is left trained, in the machine's precision, with
    the parameters trainable that were. ``seed``: of initialisation, order and augmentation. ``callbacks``: instances
    of :class:`airbench.training.callback.Callback`, whose ``on_step`` runs on the clock.
    Returns a :class:`TrainedTrial`. Raises airbench.errors.AirbenchError, in one line: TrialError if the training
    fails.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    seeds = TrialSeeds.of(recipe, _seed(seed))
    if net is not None and not isinstance(net, nn.Module):
        raise RecipeError(f"net is of type {type(net).__name__}: give a torch.nn.Module, made already")
    if not isinstance(callbacks, Sequence) or not all(isinstance(each, Callback) for each in callbacks):
        raise RecipeError("callbacks: give a list of instances of airbench.training.callback.Callback")
    machine = choose_machine(recipe.engine)
    prepare(machine)
    gc.collect()  # of an earlier training, which refers to what it has captured, and that to it
    dataset = load_dataset(recipe.data) if data is None else given_images(data, recipe)
    with lent(net, machine) as own:
        setup = TrialSetup(recipe, dataset, machine, net=own)
        try:
            say_notes(setup, warm_up(setup))
            result = run_trial(setup, seeds, Callbacks(*callbacks))
        finally:
            setup.unfreeze()
    return TrainedTrial(result, trained_net(setup), setup.test.labels.cpu(), setup.execution)


def say_notes(setup: TrialSetup, fallbacks: Iterable[str], depth: int = 3) -> None:
    """Warn of what the command line prints: steps that are not executed as they might be, weight decay that is lost.

    The user's call is ``depth`` frames up.
    """
    for note in (*fallbacks, *lost_decay(setup.groups, setup.total_steps, setup.steps_per_epoch)):
        warnings.warn(note, stacklevel=depth)


def _seed(seed: Any) -> int:
    """Return a seed as an int. Raises RecipeError for anything but an integer, of Python's or NumPy's, in bounds."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < 2**62:
        raise RecipeError(f"seed = {seed!r}: give an integer from 0 to 2^62 - 1")
    return number


def given_images(data: "Dataset | tuple[Images, Images]", recipe: Recipe) -> Dataset:
    """Return the images that a user gives, with as many held out as ``recipe`` says. Raises DataError."""
    if not isinstance(data, Dataset) and not (isinstance(data, tuple | list) and len(data) == 2):
        raise DataError("data: give ((training images, labels), (test images, labels)), or what load_images returned")
    if not isinstance(data, Dataset) and not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in data):
        raise DataError("data: each of its two parts is a pair (images, labels), first to train on, then to test on")
    dataset, wanted = data if isinstance(data, Dataset) else own_images(*data), recipe.data.held_out
    if wanted is None or dataset.held_out == wanted:
        return dataset
    if dataset.held_out:
        raise DataError(f"data.held_out = {wanted}: of the images given, {dataset.held_out} are held out already")
    return dataset.hold_out(wanted)


@contextmanager
def lent(net: nn.Module | None, machine: Machine) -> Iterator[Net | None]:
    """Lend a user's module to a training: moved to the machine, in its precision, batch normalisation in float32.

    Unless its class has a ``reset(generator)``, the module has one meanwhile that restores the weights it had before.
    """
    if net is None:
        yield None
        return
    own = vars(net).get("reset")
    try:
        yield _own_net(net, machine)
    finally:
        vars(net).pop("reset", None)
        if own is not None:
            net.reset = own


def _own_net(net: nn.Module, machine: Machine) -> Net:
    net.to(machine.device)
    net.to(memory_format=torch.channels_last)
    for module in net.modules():
        if not isinstance(module, FLOAT32):
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(machine.dtype)
    if not _resets_by_generator(type(net)):
        start = {name: value.clone() for name, value in net.state_dict().items()}
        net.reset = partial(_restore, net, start)  # type: ignore[assignment]
    return cast(Net, net)


def _resets_by_generator(cls: type[nn.Module]) -> bool:
    """Return whether modules of ``cls`` initialise themselves from a generator, as those of recipes do."""
    reset = getattr(cls, "reset", None)
    return callable(reset) and "generator" in inspect.signature(reset).parameters


def _restore(net: nn.Module, start: dict[str, Tensor], generator: torch.Generator) -> None:
    net.load_state_dict(start)
