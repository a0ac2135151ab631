"""A training step, executed directly or captured once as a CUDA graph and replayed."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.optim.optimizers import Optimizers
from airbench.training.engine import ForwardLoss
from airbench.training.plan import Plan
from airbench.training.selection.base import Selection


@dataclass(frozen=True)
class StepResult:
    """What a step leaves."""

    batch: Batch
    """B examples as they were trained on."""
    losses: Tensor
    """Of each, ``(B,)``, detached."""
    logits: Tensor
    """Of each, ``(B, classes)``, detached."""


Capture = Callable[[Callable[[], StepResult]], tuple[Callable[[], Any], StepResult]]
"""Records a function. Returns a function that replays it on the same memory, and the tensors that hold the result."""

EAGER_STEPS = 3
"""Eager steps before a capture, in which optimizers create their state and libraries choose their algorithms."""


def train_step(forward_loss: ForwardLoss, optimizers: Optimizers, batch: Batch) -> tuple[Tensor, Tensor]:
    """Run forward, backward and update. The losses are added up, each times its example's weight.

    Returns losses per example ``(B,)`` and logits ``(B, classes)``, detached.
    """
    losses, logits = forward_loss(batch.images, batch.targets)
    losses.backward(torch.ones_like(losses) if batch.weights is None else batch.weights)
    optimizers.step()
    return losses.detach(), logits.detach()


@dataclass(frozen=True)
class TrainingStep:
    """A step: choose examples of the batch, shrink them, train on them, take note of their losses."""

    selection: Selection
    plan: Plan
    forward_loss: Callable[[int], ForwardLoss]
    """Returns what a step executes."""
    optimizers: Optimizers

    def before(self, step: int) -> None:
        """Announce ``step``: set whatever depends on its number."""
        self.optimizers.before_step(step)
        self.selection.before_step(step)

    def __call__(self, batch: Batch) -> StepResult:
        """Take the step announced last with ``batch``, which is whole and at full size."""
        step = self.optimizers.now
        batch = self.plan.sized(self.selection.choose(batch, step), step)
        losses, logits = train_step(self.forward_loss(step), self.optimizers, batch)
        self.selection.observe(batch, losses)
        return StepResult(batch, losses, logits)

    def kind(self, step: int) -> Hashable:
        """Return what decides which kernels ``step`` executes."""
        return self.optimizers.kind_of_step(step), self.plan.at(step)


def capture_cuda_graph(work: Callable[[], StepResult]) -> tuple[Callable[[], Any], StepResult]:
    """Capture the kernels that ``work`` launches as a CUDA graph, without executing them."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


class GraphStep:
    """A :class:`TrainingStep` as CUDA graphs, tied to the memory of everything that it reads and writes.

    A graph replays the same kernels on the same memory. So batches are copied to a fixed buffer, optimizers must read
    their learning rates from tensors (``Optimizers(captured=True)``), and each kind of step has its own graph.
    """

    def __init__(self, step: TrainingStep, example: Batch, capture: Capture | None = None):
        """``example`` is any batch, before selection, at full size."""
        self.step, self.optimizers = step, step.optimizers
        self.capture = capture or capture_cuda_graph
        images = example.images.clone(memory_format=torch.preserve_format)
        ones = torch.ones(len(example), device=images.device)
        self._buffer = Batch(images, example.targets.clone(), example.index.clone(), ones)
        self._graphs: dict[Hashable, tuple[Callable[[], Any], StepResult]] = {}

    def prepare(self) -> None:
        """Capture every graph that the optimizers' steps need. Leaves weights and optimizers changed."""
        first_steps: dict[Hashable, int] = {}
        for step in range(self.optimizers.total_steps):
            first_steps.setdefault(self.step.kind(step), step)
        with _side_stream(self._buffer.images.device):
            for step in first_steps.values():
                self.step.before(step)
                for _ in range(EAGER_STEPS):
                    self.step(self._buffer)
        for kind, step in first_steps.items():
            self.step.before(step)
            self._graphs[kind] = self.capture(partial(self.step, self._buffer))

    def before(self, step: int) -> None:
        """See :class:`TrainingStep`."""
        self.step.before(step)

    def __call__(self, batch: Batch) -> StepResult:
        """See :class:`TrainingStep`. The next step overwrites the returned tensors."""
        self._buffer.images.copy_(batch.images)
        self._buffer.targets.copy_(batch.targets)
        if self.step.selection.needs_index:
            self._buffer.index.copy_(batch.index)
        replay, result = self._graphs[self.step.kind(self.optimizers.now)]
        replay()
        return result


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    """Run on a side stream, as CUDA requires of the steps before a capture; do nothing on a CPU."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)
