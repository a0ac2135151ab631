"""A training step, executed directly or captured once as a CUDA graph and replayed."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from airbench.data.batch import Batch, first_rows
from airbench.errors import NotCapturableError
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
    """A step: shrink the images of a batch, train on them, take note of their losses."""

    selection: Selection
    plan: Plan
    forward_loss: Callable[[int], ForwardLoss]
    """Returns what a step executes."""
    optimizers: Optimizers

    def before(self, step: int) -> None:
        """Announce ``step``: set whatever depends on its number."""
        self.optimizers.before_step(step)

    def __call__(self, batch: Batch) -> StepResult:
        """Take the step announced last with ``batch``, at full size: as many images as the plan says."""
        step = self.optimizers.now
        batch = self.plan.sized(batch, step)
        losses, logits = train_step(self.forward_loss(step), self.optimizers, batch)
        self.selection.observe(batch, losses)
        return StepResult(batch, losses, logits)

    def kind(self, step: int) -> Hashable:
        """Return what decides which kernels ``step`` executes."""
        return self.optimizers.kind_of_step(step), self.plan.at(step)


def cuda_graph_capture() -> Capture:
    """Return what captures the kernels that a function launches as a CUDA graph, without executing them.

    All graphs that it captures share their memory, so the results of one are valid until any of them is replayed. They
    are captured on a stream of the current device: PyTorch's own belongs to the device of the process's first capture.
    """
    pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def capture(work: Callable[[], StepResult]) -> tuple[Callable[[], Any], StepResult]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            result = work()
        return graph.replay, result

    return capture


class GraphStep:
    """A :class:`TrainingStep` as CUDA graphs, tied to the memory of everything that it reads and writes.

    A graph replays the same kernels on the same memory. So batches are copied to a fixed buffer, one for each number of
    images, optimizers must read their learning rates from tensors (``Optimizers(captured=True)``), and each kind of
    step has its own graph. Of batches of one size, either all have weights or all weigh 1.
    """

    def __init__(self, step: TrainingStep, example: Batch, capture: Capture | None = None):
        """``example`` is any batch, whole and at full size."""
        self.step, self.optimizers = step, step.optimizers
        self.capture = capture or cuda_graph_capture()
        self._device = example.images.device
        sizes = {kind.rows for kind in step.plan.steps_by_kind()}
        self._buffers = {size: _buffer(first_rows(example, size)) for size in sizes}
        self._graphs: dict[Hashable, tuple[Callable[[], Any], StepResult]] = {}

    def prepare(self) -> None:
        """Capture every graph that the optimizers' steps need. Leaves weights and optimizers changed."""
        first_steps: dict[Hashable, int] = {}
        for step in range(self.optimizers.total_steps):
            first_steps.setdefault(self.step.kind(step), step)
        with _side_stream(self._device):
            for step in first_steps.values():
                self.step.before(step)
                for _ in range(EAGER_STEPS - 1):
                    self.step(self._buffer_of(step))
                before = self.optimizers.numbers()
                self.step(self._buffer_of(step))
                changed = sorted(name for name, value in self.optimizers.numbers().items() if before.get(name) != value)
                if changed:
                    raise NotCapturableError(
                        f"{changed[0]} is a number that changes with each step, and a CUDA graph would repeat it as it "
                        "was; keep it in a tensor on the device, or set engine.cuda_graph=false"
                    )
        for kind, step in first_steps.items():
            self.step.before(step)
            self._graphs[kind] = self.capture(partial(self.step, self._buffer_of(step)))

    def _buffer_of(self, step: int) -> Batch:
        return self._buffers[self.step.plan.at(step).rows]

    def before(self, step: int) -> None:
        """See :class:`TrainingStep`."""
        self.step.before(step)

    def __call__(self, batch: Batch) -> StepResult:
        """See :class:`TrainingStep`. The next step overwrites the returned tensors."""
        buffer = self._buffers[len(batch)]
        buffer.images.copy_(batch.images)
        buffer.targets.copy_(batch.targets)
        if self.step.selection.observes:
            buffer.index.copy_(batch.index)
        if batch.weights is not None and buffer.weights is not None:
            buffer.weights.copy_(batch.weights)
        replay, result = self._graphs[self.step.kind(self.optimizers.now)]
        replay()
        return result


def _buffer(batch: Batch) -> Batch:
    """Return memory for batches like this one, with weights of 1."""
    images = batch.images.clone(memory_format=torch.preserve_format)
    weights = torch.ones(len(batch), device=images.device)
    return Batch(images, batch.targets.clone(), batch.index.clone(), weights)


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
