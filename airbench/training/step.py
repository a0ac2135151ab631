"""A training step: taken as it is, or captured once as a CUDA graph and replayed."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.optim.optimizers import Optimizers
from airbench.training.engine import ForwardLoss

StepResult = tuple[Tensor, Tensor]
"""The loss of each example ``(B,)`` and the logits ``(B, classes)``, without a gradient."""

Step = Callable[[Batch], StepResult]

Capture = Callable[[Callable[[], StepResult]], tuple[Callable[[], Any], StepResult]]
"""Records some work. Returns a function that repeats it on the same memory, and the tensors that hold its result."""

EAGER_STEPS = 3
"""Before a capture: optimizers make their state, and libraries choose their algorithms, in the first steps."""


def train_step(forward_loss: ForwardLoss, optimizers: Optimizers, batch: Batch) -> StepResult:
    """Forward, backward, update. The loss is summed over the batch."""
    losses, logits = forward_loss(batch.images, batch.targets)
    losses.sum().backward()
    optimizers.step()
    return losses.detach(), logits.detach()


def capture_cuda_graph(work: Callable[[], StepResult]) -> tuple[Callable[[], Any], StepResult]:
    """Record what ``work`` launches as a CUDA graph, without executing it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


class GraphStep:
    """:func:`train_step` as a CUDA graph, on the net, the optimizers and the memory that it was made with.

    A graph repeats the very same kernels on the very same memory. So batches are copied to one place, optimizers must
    read their learning rates from tensors (``Optimizers(captured=True)``), and for each set of groups that are trained
    or rescaled in a step there is a graph of its own.
    """

    def __init__(
        self,
        forward_loss: ForwardLoss,
        optimizers: Optimizers,
        example: Batch,
        capture: Capture | None = None,
    ):
        """``example`` is a batch; any other must be of its shape."""
        self.optimizers, self.capture = optimizers, capture or capture_cuda_graph
        images = example.images.clone(memory_format=torch.preserve_format)
        self.batch = replace(example, images=images, targets=example.targets.clone())
        self._work = lambda: train_step(forward_loss, optimizers, self.batch)
        self._graphs: dict[Hashable, tuple[Callable[[], Any], StepResult]] = {}

    def prepare(self) -> None:
        """Capture every graph that the optimizers' steps need. Leaves weights and optimizers changed."""
        first_steps: dict[Hashable, int] = {}
        for step in range(self.optimizers.total_steps):
            first_steps.setdefault(self.optimizers.kind_of_step(step), step)
        with _side_stream(self.batch.images.device):
            for step in first_steps.values():
                self.optimizers.before_step(step)
                for _ in range(EAGER_STEPS):
                    self._work()
        for kind, step in first_steps.items():
            self.optimizers.before_step(step)
            self._graphs[kind] = self.capture(self._work)

    def __call__(self, batch: Batch) -> StepResult:
        """Take the step that ``optimizers.before_step`` announced. The next one overwrites what is returned."""
        self.batch.images.copy_(batch.images)
        self.batch.targets.copy_(batch.targets)
        replay, result = self._graphs[self.optimizers.kind_of_step(self.optimizers.now)]
        replay()
        return result


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    """A stream beside the default one, as a capture asks of the steps before it; nothing on a CPU."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)
