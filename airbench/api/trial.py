"""Train a recipe from Python."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from airbench.data.dataset import Dataset, channel_statistics, make_split
from airbench.data.sources import load_dataset
from airbench.device import Machine, choose_machine, prepare
from airbench.errors import DataError
from airbench.net.base import Net
from airbench.recipe import Recipe
from airbench.recipe import load_recipe as load_recipe_file
from airbench.training.callback import Callback, Callbacks
from airbench.training.loop import run_trial
from airbench.training.loss import losses
from airbench.training.results import EpochRow, TrialResult, TrialSeeds
from airbench.training.saved import TrainedNet, trained_net
from airbench.training.setup import TrialSetup
from airbench.training.warmup import warm_up

Images = tuple[Any, Any]
"""Images ``(N, H, W, C)`` or ``(N, C, H, W)`` uint8 and labels ``(N,)``, as tensors or arrays."""


@dataclass(frozen=True)
class Trained:
    """A trial that :func:`train` ran, with what it trained."""

    result: TrialResult
    trained: TrainedNet
    labels: Tensor
    """Labels of the test images, ``(N,)`` int64."""

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
        """Loss and accuracy after each epoch."""
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
        """Classify uint8 images ``(N, H, W, C)`` or ``(N, C, H, W)``: logits ``(N, classes)`` float32."""
        return self.trained.logits(torch.from_numpy(_pixels(images, "images")), tta=tta)


def load_recipe(path: str | Path, *overrides: str) -> Recipe:
    """Load a recipe by the name of a shipped one or by its file, with overrides: ``"train.epochs=4"``.

    Raises airbench.errors.RecipeError, in one line.
    """
    return load_recipe_file(path, overrides).recipe


def load_images(recipe: str | Path | Recipe) -> Dataset:
    """Load the images that ``recipe`` trains on, in canonical order (see :func:`dataset.make_split`)."""
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    return load_dataset(recipe.data)


def train(
    recipe: str | Path | Recipe,
    *,
    data: "Dataset | tuple[Images, Images] | None" = None,
    net: nn.Module | None = None,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Run one timed trial of ``recipe``, after a warm-up.

    ``data`` replaces the recipe's images: ((training images, labels), (test images, labels)), in any order of one's
    own. ``net`` replaces its net: a module from normalised images ``(N, C, H, W)`` to logits, whose parameters the
    recipe's optimizers must match; it starts from the weights that it has, or from its ``reset(generator)``, and is
    left trained. Raises airbench.errors.AirbenchError, in one line: TrialError if the training fails.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    machine = choose_machine(recipe.engine)
    prepare(machine)
    dataset = load_dataset(recipe.data) if data is None else data if isinstance(data, Dataset) else own_images(*data)
    setup = TrialSetup(recipe, dataset, machine, net=None if net is None else own_net(net, machine))
    warm_up(setup)
    result = run_trial(setup, TrialSeeds.of(recipe, seed), Callbacks(*callbacks))
    return Trained(result, trained_net(setup), setup.test.labels.cpu())


def own_net(net: nn.Module, machine: Machine) -> Net:
    """Move a user's module to the machine, batch normalisation in float32, with a ``reset`` if it has none."""
    net.to(machine.device)
    net.to(memory_format=torch.channels_last)
    for module in net.modules():
        if not isinstance(module, nn.BatchNorm2d):
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(machine.dtype)
    if not hasattr(net, "reset"):
        start = {name: value.clone() for name, value in net.state_dict().items()}
        net.reset = partial(_restore, net, start)  # type: ignore[assignment]
    return cast(Net, net)


def _restore(net: nn.Module, start: dict[str, Tensor], generator: torch.Generator) -> None:
    net.load_state_dict(start)


def own_images(train: Images, test: Images) -> Dataset:
    """Make a data set of a user's own tensors, in their order. Raises DataError if they do not fit each other."""
    (images, labels), (test_images, test_labels) = (
        (_pixels(pair[0], name), _labels(pair[1], name))
        for pair, name in ((train, "training images"), (test, "test images"))
    )
    for name, x, y in (("training images", images, labels), ("test images", test_images, test_labels)):
        if len(x) != len(y) or not len(x):
            raise DataError(f"{name}: {len(x)} images but {len(y)} labels")
    if images.shape[1:] != test_images.shape[1:] or images.shape[1] != images.shape[2]:
        raise DataError(f"images must be square and of one size: {images.shape[1:]} and {test_images.shape[1:]}")
    classes = tuple(map(str, range(int(max(labels.max(), test_labels.max())) + 1)))
    mean, std = channel_statistics(images)
    training, testing = (
        replace(make_split(x, y), images=x, labels=y)  # fingerprinted, but in the user's order
        for x, y in ((images, labels), (test_images, test_labels))
    )
    return Dataset("own", training, testing, classes, mean, std, "images given as tensors")


def _pixels(images: Any, name: str) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    array = np.asarray(images.cpu() if isinstance(images, Tensor) else images)
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or array.dtype != np.uint8:
        raise DataError(f"{name}: {array.dtype} of shape {array.shape}; give uint8, N×H×W×C or N×C×H×W, C 1 or 3")
    return np.ascontiguousarray(array)


def _labels(labels: Any, name: str) -> "np.ndarray[Any, np.dtype[np.uint16]]":
    array = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer) or array.min(initial=0) < 0:
        raise DataError(f"{name}: labels are {array.dtype} of shape {array.shape}; give class numbers from 0")
    return array.astype(np.uint16)
