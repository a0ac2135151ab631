"""A training step, executed directly or captured once as a CUDA graph and replayed."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.optim.optimizers import Optimizers
from airbench.training.engine import ForwardLoss
from airbench.training.plan import Plan, StepKind

StepResult = tuple[Tensor, Tensor]
"""Losses per example ``(B,)`` and logits ``(B, classes)``, detached."""

Step = Callable[[Batch], StepResult]

Capture = Callable[[Callable[[], StepResult]], tuple[Callable[[], Any], StepResult]]
"""Records a function. Returns a function that replays it on the same memory, and the tensors that hold the result."""

EAGER_STEPS = 3
"""Eager steps before a capture, in which optimizers create their state and libraries choose their algorithms."""


def train_step(forward_loss: ForwardLoss, optimizers: Optimizers, batch: Batch) -> StepResult:
    """Run forward, backward and update. The losses are added up, each times its example's weight."""
    losses, logits = forward_loss(batch.images, batch.targets)
    losses.backward(torch.ones_like(losses) if batch.weights is None else batch.weights)
    optimizers.step()
    return losses.detach(), logits.detach()


def capture_cuda_graph(work: Callable[[], StepResult]) -> tuple[Callable[[], Any], StepResult]:
    """Capture the kernels that ``work`` launches as a CUDA graph, without executing them."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


class GraphStep:
    """:func:`train_step` as a CUDA graph, tied to the net, the optimizers and the memory it was created with.

    A graph replays the same kernels on the same memory. So batches are copied to a fixed buffer, optimizers must read
    their learning rates from tensors (``Optimizers(captured=True)``), and each combination of groups that are trained
    or rescaled in a step, and each kind of step in the plan, has its own graph.
    """

    def __init__(
        self,
        forward_loss: Callable[[int], ForwardLoss],
        optimizers: Optimizers,
        example: Batch,
        plan: Plan,
        capture: Capture | None = None,
    ):
        """``forward_loss`` returns what a step executes. ``example`` is any batch, before selection, at full size."""
        self.forward_loss, self.optimizers, self.plan = forward_loss, optimizers, plan
        self.capture = capture or capture_cuda_graph
        self._example = example
        self._buffers: dict[tuple[int, int], Batch] = {}
        """By number of images and their side."""
        self._graphs: dict[Hashable, tuple[Callable[[], Any], StepResult]] = {}

    def prepare(self) -> None:
        """Capture every graph that the optimizers' steps need. Leaves weights and optimizers changed."""
        first_steps: dict[Hashable, int] = {}
        for step in range(self.optimizers.total_steps):
            first_steps.setdefault(self._kind(step), step)
        with _side_stream(self._example.images.device):
            for step in first_steps.values():
                self.optimizers.before_step(step)
                for _ in range(EAGER_STEPS):
                    self._work(step)
        for kind, step in first_steps.items():
            self.optimizers.before_step(step)
            self._graphs[kind] = self.capture(partial(self._work, step))

    def _kind(self, step: int) -> Hashable:
        return self.optimizers.kind_of_step(step), self.plan.at(step)

    def _work(self, step: int) -> StepResult:
        return train_step(self.forward_loss(step), self.optimizers, self._buffer(self.plan.at(step)))

    def _buffer(self, kind: StepKind) -> Batch:
        """Return the memory from which the graphs of this kind of step read their batch."""
        key = kind.rows, kind.side
        if key not in self._buffers:
            batch = kind.example(self._example)
            self._buffers[key] = replace(
                batch,
                images=batch.images.clone(memory_format=torch.preserve_format),
                targets=batch.targets.clone(),
                weights=torch.ones(len(batch), device=batch.images.device),
            )
        return self._buffers[key]

    def __call__(self, batch: Batch) -> StepResult:
        """Take the step announced by ``optimizers.before_step``. The next step overwrites the returned tensors."""
        buffer = self._buffer(self.plan.at(self.optimizers.now))
        buffer.images.copy_(batch.images)
        buffer.targets.copy_(batch.targets)
        if batch.weights is not None and buffer.weights is not None:
            buffer.weights.copy_(batch.weights)
        replay, result = self._graphs[self._kind(self.optimizers.now)]
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
