"""The trainings of the airbench package, with its functions' names and arguments, over the recipes of this one."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from airbench.api.loader import CifarLoader, draw_seed
from airbench.api.trial import lent, load_recipe, say_notes
from airbench.data.sources import load_dataset
from airbench.device import Machine, choose_machine, prepare
from airbench.errors import RecipeError
from airbench.net.base import Net
from airbench.recipe import Recipe
from airbench.recipe.schema import Evaluate
from airbench.training.callback import Callback
from airbench.training.evaluate import predict
from airbench.training.loop import run_trial
from airbench.training.results import EpochRow, TrialResult, TrialSeeds
from airbench.training.setup import TrialSetup
from airbench.training.warmup import warm_up

MakeNet = Callable[[], nn.Module]

TTA: tuple[tuple[Any, ...], ...] = ((), ("mirror",), ("mirror", "translate"))
"""Test-time augmentation by level."""

_kept: dict[str, TrialSetup] = {}
"""The latest training on the default images, by recipe, so that a second call does not compile again."""


def train93(
    train_loader: CifarLoader | None = None,
    epochs: float = 11.0,
    label_smoothing: float = 0.2,
    learning_rate: float = 11.5,
    bias_scaler: float = 64.0,
    momentum: float = 0.85,
    weight_decay: float = 0.0153,
    whiten_bias_epochs: float = 3,
    tta_level: int = 2,
    make_net: MakeNet | None = None,
    run: int | str | None = None,
    verbose: bool = True,
    *,
    seed: int | None = None,
) -> nn.Module:
    """Train recipe airbench93 and return the net: 93%. See :func:`train94`."""
    return _train("airbench93", dict(locals()))


def train94(
    train_loader: CifarLoader | None = None,
    epochs: float = 9.9,
    label_smoothing: float = 0.2,
    learning_rate: float = 11.5,
    bias_scaler: float = 64.0,
    momentum: float = 0.85,
    weight_decay: float = 0.0153,
    whiten_bias_epochs: float = 3,
    tta_level: int = 2,
    make_net: MakeNet | None = None,
    run: int | str | None = None,
    verbose: bool = True,
    *,
    seed: int | None = None,
) -> nn.Module:
    """Train recipe airbench94 and return the net: normalised images ``(N, 3, 32, 32)`` → logits.

    ``train_loader`` None: all CIFAR-10 training images, batches of 1024, the recipe's augmentation. ``learning_rate``
    and ``weight_decay`` are per 1024 examples; ``bias_scaler`` multiplies the learning rate of the norms' biases.
    ``tta_level``: 0 none, 1 mirror, 2 mirror and translate. ``make_net`` builds a net of your own, whose normalisation
    parameters have "norm" in their names; with it, a changed ``whiten_bias_epochs`` raises RecipeError, and so does
    ``bias_scaler`` if no name has "norm". ``run`` is printed in the table; "warmup" trains nothing. ``seed`` None:
    drawn from PyTorch's global generator.
    """
    return _train("airbench94", dict(locals()))


def train95(
    train_loader: CifarLoader | None = None,
    epochs: float = 15.0,
    label_smoothing: float = 0.2,
    learning_rate: float = 10.0,
    bias_scaler: float = 64.0,
    momentum: float = 0.85,
    weight_decay: float = 0.0153,
    whiten_bias_epochs: float = 3,
    tta_level: int = 2,
    make_net: MakeNet | None = None,
    run: int | str | None = None,
    verbose: bool = True,
    *,
    seed: int | None = None,
) -> nn.Module:
    """Train recipe airbench95 and return the net: 95%. See :func:`train94`."""
    return _train("airbench95", dict(locals()))


def train96(
    train_loader: CifarLoader | None = None,
    epochs: float = 37.0,
    label_smoothing: float = 0.2,
    learning_rate: float = 9.0,
    bias_scaler: float = 64.0,
    momentum: float = 0.85,
    weight_decay: float = 0.012,
    whiten_bias_epochs: float = 3,
    tta_level: int = 2,
    make_net: MakeNet | None = None,
    run: int | str | None = None,
    verbose: bool = True,
    *,
    seed: int | None = None,
) -> nn.Module:
    """Train recipe airbench96 and return the net: 96%. See :func:`train94`."""
    return _train("airbench96", dict(locals()))


def warmup93(train_loader: CifarLoader | None = None) -> None:
    """Compile and warm up, so that :func:`train93` need not."""
    train93(train_loader, run="warmup", verbose=False)


def warmup94(train_loader: CifarLoader | None = None) -> None:
    """Compile and warm up, so that :func:`train94` need not."""
    train94(train_loader, run="warmup", verbose=False)


def warmup95(train_loader: CifarLoader | None = None) -> None:
    """Compile and warm up, so that :func:`train95` need not."""
    train95(train_loader, run="warmup", verbose=False)


def warmup96(train_loader: CifarLoader | None = None) -> None:
    """Compile and warm up, so that :func:`train96` need not."""
    train96(train_loader, run="warmup", verbose=False)


def infer(model: nn.Module, loader: CifarLoader, tta_level: int = 0) -> Tensor:
    """Return the logits of all images of ``loader``, in its order, ``(N, classes)`` float32.

    The images have the type of the net's matrices, whatever the loader's: a net that is not trained yet may be float32.
    """
    _check_level(tta_level)
    dtype = next((p.dtype for p in model.parameters() if p.ndim > 1 and p.is_floating_point()), loader.machine.dtype)
    with torch.no_grad():
        return predict(model, loader.normalize(loader.images).to(dtype), Evaluate(tta=TTA[tta_level]))


def _check_level(tta_level: int) -> None:
    if tta_level not in range(len(TTA)):
        raise RecipeError(f"tta_level = {tta_level}: give 0, 1 or 2")


def evaluate(model: nn.Module, loader: CifarLoader, tta_level: int = 0) -> float:
    """Return the accuracy on all images of ``loader``, between 0 and 1."""
    return (infer(model, loader, tta_level).argmax(1) == loader.labels).float().mean().item()


def _train(name: str, given: dict[str, Any]) -> nn.Module:
    """Train the recipe ``name`` with a classic function's arguments."""
    loader: CifarLoader | None = given["train_loader"]
    _check_level(given["tta_level"])
    if loader is not None and not loader.shuffle:
        raise RecipeError("train_loader has shuffle=False: recipes shuffle the training images")
    net = None if given["make_net"] is None else given["make_net"]()
    if net is not None:
        _check_own(given, net)
    recipe = classic_recipe(name, given, net)
    machine = choose_machine(recipe.engine) if loader is None else loader.machine
    with lent(net, machine) as own:
        setup = _setup(recipe, loader, machine, own)
        if given["run"] == "warmup":
            return setup.net
        seed = draw_seed() if given["seed"] is None else given["seed"]
        callback = _Table(given["run"]) if given["verbose"] else Callback()
        run_trial(setup, TrialSeeds(seed, seed, seed), callback)
    return copy.deepcopy(setup.net) if net is None else net  # the next training resets a net of ours


def _setup(recipe: Recipe, loader: CifarLoader | None, machine: Machine, net: Net | None) -> TrialSetup:
    """Return a training that is warmed up: a kept one, if there is one for this recipe and loader."""
    kept = _kept if loader is None else loader.trainings
    train = None if loader is None else loader.current_split()
    key = recipe.model_dump_json() + ("" if train is None else f" {tuple(train.images.shape)}")
    if key in kept and net is None:
        setup: TrialSetup = kept[key]
        setup.train = setup.train if train is None else train
        return setup
    prepare(machine)
    dataset = load_dataset(recipe.data) if loader is None else loader.dataset
    setup = TrialSetup(recipe, dataset, machine, net=net, train=train)
    say_notes(setup, warm_up(setup), depth=5)
    if net is None:
        kept.clear()  # only the latest: each has a net, images and captured graphs of its own
        kept[key] = setup
    return setup


def classic_recipe(name: str, given: dict[str, Any], net: nn.Module | None = None) -> Recipe:
    """Return the recipe ``name`` with a classic function's arguments in place of its settings.

    A ``net`` of one's own has two groups of parameters instead: those with "norm" in their names, and the others.
    """
    loader: CifarLoader | None = given["train_loader"]
    settings = {"lr": given["learning_rate"], "weight_decay": given["weight_decay"], "momentum": given["momentum"]}
    changes: dict[str, Any] = {
        "train": {"epochs": float(given["epochs"]), "label_smoothing": given["label_smoothing"]},
        "evaluate": {"tta": TTA[given["tta_level"]]},
    }
    recipe = load_recipe(name)
    groups = {key: group.model_copy(update=settings) for key, group in recipe.optimizers.items()}
    groups["biases"] = groups["biases"].model_copy(update={"lr_scale": given["bias_scaler"]})
    if net is None:
        freeze = {"train_epochs": float(given["whiten_bias_epochs"])}
        groups["whiten_bias"] = groups["whiten_bias"].model_copy(update=freeze)
    else:
        others = groups["filters"].model_copy(update={"params": "*"})
        norms = groups["biases"].model_copy(update={"params": "*norm*"})
        groups = {"norms": norms, "others": others} if _has_norms(net) else {"others": others}
    if loader is not None:
        changes["train"] |= {"batch_size": loader.batch_size}
        changes["train"] |= {} if loader.drop_last else {"last_batch": "carry_over"}
        changes["data"] = {"augment": loader.transforms()}
    sections = {key: getattr(recipe, key).model_copy(update=update) for key, update in changes.items()}
    changed = recipe.model_copy(update={**sections, "optimizers": groups})
    try:
        return Recipe.model_validate_json(changed.model_dump_json())
    except ValidationError as error:  # what was given is out of bounds
        first = error.errors()[0]
        raise RecipeError(f"{'.'.join(map(str, first['loc']))} = {first['input']}: {first['msg']}") from None


def _has_norms(net: nn.Module) -> bool:
    return any("norm" in name for name, p in net.named_parameters() if p.requires_grad)


def _check_own(given: dict[str, Any], net: nn.Module) -> None:
    """Raise RecipeError for an argument that was changed and has no effect on a net of one's own."""
    without = {"whiten_bias_epochs": "has no whitening bias of the recipe's"}
    if not _has_norms(net):
        without["bias_scaler"] = 'has no trainable parameter with "norm" in its name'
    for key, reason in without.items():
        if given[key] != inspect.signature(train94).parameters[key].default:  # all four have the same
            raise RecipeError(f"{key} = {given[key]}: no effect, since the net of make_net {reason}; leave it out")


class _Table(Callback):
    """Prints a row per epoch, as the airbench package does."""

    COLUMNS = ("run", "epoch", "train_loss", "train_acc", "val_acc", "tta_val_acc", "total_time_seconds")

    def __init__(self, run: int | str | None):
        self.run = "" if run is None else str(run)
        print("  ".join(f"{name:>9}" for name in self.COLUMNS), flush=True)

    def on_epoch(self, row: EpochRow) -> None:
        """Print the state after an epoch."""
        self._print(f"{row.epoch:g}", f"{row.train_loss:.4f}", f"{row.train_accuracy:.4f}", f"{row.accuracy:.4f}", "",
                    f"{row.seconds:.4f}")  # fmt: skip

    def on_end(self, result: TrialResult) -> None:
        """Print the final accuracy."""
        self._print("eval", "", "", f"{result.plain_accuracy:.4f}", f"{result.accuracy:.4f}", f"{result.seconds:.4f}")

    def _print(self, *cells: str) -> None:
        row = zip(self.COLUMNS, (self.run, *cells), strict=True)
        print("  ".join(f"{cell:>{max(9, len(name))}}" for name, cell in row), flush=True)
        self.run = ""
