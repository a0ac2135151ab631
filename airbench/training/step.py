"""A training step: taken as it is, or captured once as a CUDA graph and replayed."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from airbench.optim.routing import Optimizers

Net = Callable[[Tensor], Tensor]
Result = tuple[Tensor, Tensor]
Step = Callable[[Tensor, Tensor], Result]
"""Images ``(B, C, H, W)`` and labels → what :func:`train_step` returns."""

Capture = Callable[[Callable[[], Result]], tuple[Callable[[], Any], Result]]
"""Work → what does it anew on the same memory, and the tensors in which its result then is."""

EAGER_STEPS = 3
"""Before a capture: optimizers make their state, and libraries choose their algorithms, in the first steps."""


def train_step(net: Net, optimizers: Optimizers, images: Tensor, labels: Tensor, smoothing: float) -> Result:
    """Forward, backward, update. Returns the loss, summed over the batch, and the logits ``(B, classes)``."""
    logits = net(images)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="sum")
    loss.backward()
    optimizers.step()
    return loss.detach(), logits.detach()


def capture_cuda_graph(work: Callable[[], Result]) -> tuple[Callable[[], Any], Result]:
    """Record what ``work`` launches, without doing it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result


class GraphStep:
    """:func:`train_step` on the net, the optimizers and the memory that it was made with, without the host's part.

    A graph repeats the very same kernels on the very same memory. So batches are copied to one place, optimizers must
    read their learning rates from tensors (``Optimizers(captured=True)``), and for each set of groups that are trained
    or rescaled in a step there is a graph of its own.
    """

    def __init__(
        self, net: Net, optimizers: Optimizers, images: Tensor, labels: Tensor, smoothing: float,
        capture: Capture | None = None,
    ):  # fmt: skip
        """``images`` and ``labels`` are a batch; any other must be of its shape."""
        self.optimizers, self.capture = optimizers, capture or capture_cuda_graph
        self.images, self.labels = images.clone(memory_format=torch.preserve_format), labels.clone()
        self._work = lambda: train_step(net, optimizers, self.images, self.labels, smoothing)
        self._graphs: dict[Hashable, tuple[Callable[[], Any], Result]] = {}

    def prepare(self) -> None:
        """Capture every graph that the optimizers' steps need. Leaves weights and optimizers changed."""
        first_steps: dict[Hashable, int] = {}
        for step in range(self.optimizers.total_steps):
            first_steps.setdefault(self.optimizers.kind_of_step(step), step)
        with _side_stream(self.images.device):
            for step in first_steps.values():
                self.optimizers.before_step(step)
                for _ in range(EAGER_STEPS):
                    self._work()
        for kind, step in first_steps.items():
            self.optimizers.before_step(step)
            self._graphs[kind] = self.capture(self._work)

    def __call__(self, images: Tensor, labels: Tensor) -> Result:
        """Take the step that ``optimizers.before_step`` announced. The next one overwrites what is returned."""
        self.images.copy_(images)
        self.labels.copy_(labels)
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
