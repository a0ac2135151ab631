"""The clock: the harness times every recipe in the same way.

Timed: whitening, normalisation and augmentation, every training step, selection of examples, averaging of weights, the
final evaluation with test-time augmentation. Not timed: reading data and moving it to the device, initialisation,
building optimizers, compilation and warm-up, evaluation after each epoch.
"""

import time
from types import TracebackType

import torch

TIMED = (
    "whitening statistics", "normalisation and augmentation", "training steps", "selection of examples",
    "averaging of weights",
    "final evaluation with test-time augmentation",
)  # fmt: skip
"""What the clock includes, recorded in ``run.json``."""


class Clock:
    """Adds up the seconds spent inside ``with clock:`` blocks.

    On a GPU, blocks are timed with CUDA events, so that the host does not wait for the device inside them.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._closed = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._start: float | torch.cuda.Event | None = None

    def __enter__(self) -> "Clock":
        if self._start is not None:
            raise RuntimeError("the clock is already running")
        self._start = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        start, self._start = self._start, None
        end = self._now()
        if isinstance(start, float) and isinstance(end, float):
            self._closed += end - start
        elif isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
            self._events.append((start, end))

    def _now(self) -> "float | torch.cuda.Event":
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event
        if self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds spent in finished blocks. Waits for a GPU, so call it outside of them."""
        if self._events:
            torch.cuda.synchronize()
            self._closed += sum(start.elapsed_time(end) for start, end in self._events) / 1000
            self._events.clear()
        return self._closed
