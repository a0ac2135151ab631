"""One trial: a net trained from scratch with one seed, on the clock."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from airbench.training.clock import Clock
from airbench.data.dataset import Dataset
from airbench.data.loader import Loader, to_device
from airbench.device import Machine
from airbench.errors import RecipeError, TrialError
from airbench.training.evaluate import correct, plain
from airbench.net.cifarnet import build_net
from airbench.optim.lookahead import Lookahead
from airbench.optim.routing import Optimizers, route
from airbench.optim.schedule import epochs_to_steps
from airbench.recipe import Recipe
from airbench.training.step import GraphStep, Step, train_step

WARM_UP_STEPS = 2  # on a CPU one is enough: nothing is chosen or compiled in the second


@dataclass(frozen=True)
class TrialSeeds:
    """Seeds of the three sources of randomness of a trial."""

    init: int
    order: int
    augment: int

    @classmethod
    def of(cls, recipe: Recipe, seed: int) -> "TrialSeeds":
        """All three are ``seed``, but for those that the recipe holds fixed."""
        fixed = recipe.seeds
        return cls(*(seed if own is None else own for own in (fixed.init, fixed.order, fixed.augment)))

    def generator(self, stream: str) -> torch.Generator:
        """A host generator for ``init``, ``order`` or ``augment``: streams of one seed are independent."""
        digest = hashlib.sha256(f"{stream}:{getattr(self, stream)}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@dataclass(frozen=True)
class EpochRow:
    """The state of a trial after an epoch. Accuracies are shares of 1, loss is per example."""

    epoch: float
    """Passes over the training images so far."""
    train_loss: float
    train_accuracy: float
    """Loss and accuracy are those of the last batch."""
    accuracy: float
    """On the test images, without test-time augmentation."""
    seconds: float
    """On the clock so far."""


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial."""

    seeds: TrialSeeds
    accuracy: float
    """On the test images, with the recipe's test-time augmentation."""
    plain_accuracy: float
    """On the test images, without."""
    seconds: float
    """On the clock."""
    wall_seconds: float
    """From first to last, evaluation after each epoch included."""
    steps: int
    epochs: list[EpochRow] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


class Watcher(Protocol):
    """Who is told how a trial goes. It must be quick: steps are reported on the clock."""

    def on_step(self, step: int, total: int) -> None:
        """``step`` of ``total`` steps have been started."""

    def on_epoch(self, row: EpochRow) -> None:
        """An epoch is over."""


class Trainer:
    """What the trials of a recipe share: images on the device, a net that each trial resets, the routing."""

    def __init__(self, recipe: Recipe, dataset: Dataset, machine: Machine):
        self.recipe, self.machine = recipe, machine
        self.classes = len(dataset.classes)
        self.train = to_device(dataset.train, dataset, machine.device, recipe.data.train_images)
        self.test = to_device(dataset.test, dataset, machine.device)
        wanted, there = recipe.data.train_images, len(dataset.train)
        if wanted is not None and wanted > there:
            raise RecipeError(f"data.train_images = {wanted}: {dataset.source} has {there} training images")
        batch = recipe.train.batch_size
        if batch > len(self.train):
            raise RecipeError(f"train.batch_size = {batch}: there are only {len(self.train)} training images")
        self.steps_per_epoch = len(self.train) // batch
        self.total_steps = epochs_to_steps(recipe.train.epochs, self.steps_per_epoch)
        side = dataset.train.images.shape[1]
        self.net = build_net(recipe.net, self.classes, side, machine.device, machine.dtype)
        self.forward = _compiled(self.net, recipe.train.compile)
        self.routes = route(self.net, recipe.optimizers)
        self.optimizers: Optimizers | None = None
        """Those of the last trial."""
        self._graph: GraphStep | None = None
        if recipe.train.cuda_graph and machine.device.type != "cuda":
            raise RecipeError(
                f"train.cuda_graph = true: there are no CUDA graphs on {machine.device.type}; leave it out"
            )

    def _optimizers(self) -> Optimizers:
        return Optimizers(
            self.routes,
            batch_size=self.recipe.train.batch_size,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            captured=self.recipe.train.cuda_graph,
        )

    def _fresh_step(self) -> tuple[Optimizers, Step]:
        """Optimizers without a past, and the step that they take with the net as it is now."""
        if self._graph:
            self._graph.optimizers.reset()
            return self._graph.optimizers, self._graph
        optimizers = self._optimizers()
        return optimizers, partial(train_step, self.forward, optimizers, smoothing=self.recipe.train.label_smoothing)

    def _whiten_and_load(self, seeds: TrialSeeds) -> Loader:
        recipe, dtype = self.recipe, self.machine.dtype
        self.net.set_whitening(self.train.normalized(dtype, recipe.net.whiten.images))
        return Loader(
            self.train, recipe.data.augment, recipe.train.batch_size, dtype,
            order=seeds.generator("order"), augment_generator=seeds.generator("augment"),
        )  # fmt: skip

    def _lookahead(self) -> Lookahead | None:
        return Lookahead(self.net, self.recipe.lookahead, self.total_steps) if self.recipe.lookahead else None

    def warm_up(self) -> None:
        """Whiten, load, take a few steps and evaluate, on random labels: nothing shall be new on the clock.

        Leaves no trace: a trial resets all that it uses.
        """
        with _memory_errors():
            self._warm_up()

    def _warm_up(self) -> None:
        seeds = TrialSeeds(0, 0, 0)
        recipe, device, dtype = self.recipe, self.machine.device, self.machine.dtype
        self.machine.use_threads()
        self.net.reset(seeds.generator("init"))
        self.net.train()
        self._graph = None
        optimizers, take_step = self._fresh_step()
        loader = self._whiten_and_load(seeds)
        lookahead = self._lookahead()
        batch = recipe.train.batch_size
        labels = torch.randint(self.classes, (batch,), generator=seeds.generator("order")).to(device)
        images, _ = next(iter(loader.epoch(0)))
        steps = WARM_UP_STEPS if device.type != "cpu" or recipe.train.compile != "none" else 1
        for step in (*range(steps), *self._freezing_steps()):
            optimizers.before_step(step)
            take_step(images, labels)
        if recipe.train.cuda_graph:
            graph = GraphStep(self.forward, optimizers, images, labels, recipe.train.label_smoothing)
            graph.prepare()
            self._graph = graph
        if lookahead:
            lookahead.finish()
        whole, evaluate = recipe.evaluate.batch_size, recipe.evaluate
        count = min(len(self.test), whole + len(self.test) % whole)
        if device.type == "cpu":  # a view is like another, so a few images are enough to have seen them all
            correct(self.net, self.test.normalized(dtype, 2), self.test.labels[:2], evaluate)
            evaluate = plain(evaluate)
        else:
            count = len(self.test)  # cuDNN looks for the best algorithm for every new shape
        test = self.test.normalized(dtype, count)
        correct(self.net, test, self.test.labels[:count], evaluate).item()

    def _freezing_steps(self) -> list[int]:
        """Steps at which a group is frozen, if the net is compiled: it then is compiled anew."""
        if self.recipe.train.compile == "none":
            return []
        lengths = {r.knobs.train_epochs for r in self.routes if r.knobs.train_epochs is not None}
        steps = sorted(epochs_to_steps(epochs, self.steps_per_epoch) for epochs in lengths)
        return [step for step in steps if step < self.total_steps]

    def run(self, seeds: TrialSeeds, watcher: Watcher) -> TrialResult:
        """Train and evaluate once.

        Raises TrialError for a loss of NaN, for one no better than guessing, and where memory runs out.
        """
        with _memory_errors():
            return self._run(seeds, watcher)

    def _run(self, seeds: TrialSeeds, watcher: Watcher) -> TrialResult:
        recipe, dtype = self.recipe, self.machine.dtype
        net, total = self.net, self.total_steps
        self.machine.use_threads()
        started = time.perf_counter()
        clock = Clock(self.machine.device)
        rows: list[EpochRow] = []

        if recipe.train.cuda_graph and self._graph is None:
            self.warm_up()
        net.reset(seeds.generator("init"))
        optimizers, take_step = self._fresh_step()
        self.optimizers = optimizers
        with clock:
            loader = self._whiten_and_load(seeds)
        lookahead = self._lookahead()  # it copies the net, so whitening comes first
        step = 0
        for epoch in range(math.ceil(total / self.steps_per_epoch)):
            with clock:
                net.train()
                for images, labels in loader.epoch(epoch):
                    optimizers.before_step(step)
                    loss, logits = take_step(images, labels)
                    step += 1
                    if lookahead:
                        lookahead.after_step(step)
                    watcher.on_step(step, total)
                    # Reading the loss is free on a cpu; a GPU is asked once an epoch, off the clock.
                    if step == total or (loss.is_cpu and not math.isfinite(loss)):
                        break
                if lookahead and step == total:
                    lookahead.finish()
            row = self._after_epoch(step, loss, logits, labels, clock)
            rows.append(row)
            watcher.on_epoch(row)
            self._check(row, epoch + 1)

        with clock:
            test = self.test.normalized(dtype)
            right = correct(net, test, self.test.labels, recipe.evaluate)
        seconds = clock.seconds()
        return TrialResult(
            seeds=seeds,
            accuracy=right.item() / len(self.test),
            plain_accuracy=rows[-1].accuracy,
            seconds=seconds,
            wall_seconds=time.perf_counter() - started,
            steps=step,
            epochs=rows,
        )

    def _after_epoch(self, step: int, loss: Tensor, logits: Tensor, labels: Tensor, clock: Clock) -> EpochRow:
        test = self.test.normalized(self.machine.dtype)
        right = correct(self.net, test, self.test.labels, plain(self.recipe.evaluate))
        return EpochRow(
            epoch=round(step / self.steps_per_epoch, 4),
            train_loss=loss.item() / len(labels),
            train_accuracy=(logits.argmax(1) == labels).float().mean().item(),
            accuracy=right.item() / len(self.test),
            seconds=clock.seconds(),
        )

    def _check(self, row: EpochRow, epochs: int) -> None:
        """Raise TrialError if there is no point in going on."""
        guessing = math.log(self.classes)  # label smoothing leaves the loss of a uniform guess as it is
        if not math.isfinite(row.train_loss):
            raise TrialError(f"the loss is {row.train_loss} after {row.epoch:g} epochs: try a lower lr")
        stalled = row.train_loss > 0.99 * guessing and row.accuracy < 1.5 / self.classes
        if epochs >= self.recipe.train.stall_epochs and stalled:
            raise TrialError(
                f"after {row.epoch:g} epochs the loss is {row.train_loss:.3f} and the accuracy {row.accuracy:.1%}, no "
                f"better than guessing ({guessing:.3f}, {1 / self.classes:.1%}): the net does not learn"
            )


def _compiled(net: nn.Module, mode: str) -> Callable[[Tensor], Tensor]:
    """``net``, or its compiled twin, which shares its weights."""
    if mode == "none":
        return net
    compiled: Callable[[Tensor], Tensor] = torch.compile(net, mode=mode, dynamic=False)
    return compiled


@contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        words = str(error).lower()
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not (
            "memory" in words and ("alloc" in words or "out of" in words)
        ):
            raise
        raise TrialError(
            "memory ran out: lower train.batch_size or evaluate.batch_size, or take a narrower net"
        ) from None
