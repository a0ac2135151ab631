"""Signals that end the program: Ctrl-C, a scheduler's and a closed terminal's are answered alike, and none is lost."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

PATIENCE = 5.0
"""Seconds after a signal for which others are ignored."""

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupted(KeyboardInterrupt):
    """A signal ends the program: what is finished is kept."""

    def __init__(self, number: signal.Signals):
        super().__init__(number)
        self.number = number


_received: signal.Signals | None = None


@contextmanager
def answered() -> Iterator[None]:
    """Raise Interrupted inside the block when a signal ends the program.

    For PATIENCE after a signal, others are ignored, while what is finished is put in order. The exception may be
    lost: Python drops one that is raised in a destructor, and so does compiled code that calls Python and turns every
    error into a warning (pydantic's serializer). Hence :func:`raise_if_interrupted`.
    """
    global _received
    last, _received = -math.inf, None

    def answer(number: int, frame: FrameType | None) -> None:
        nonlocal last
        global _received
        if time.monotonic() - last > PATIENCE:
            last, _received = time.monotonic(), signal.Signals(number)
            raise Interrupted(_received)

    before = {}
    for name in ENDING:
        with suppress(AttributeError, ValueError):  # not on this system, or not the main thread
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup, and in a shell's background jobs
                before[number] = signal.signal(number, answer)
    try:
        yield
    finally:
        _received = None
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_if_interrupted() -> None:
    """Raise Interrupted if a signal came whose exception was lost. Long work calls this now and then."""
    if _received is not None:
        raise Interrupted(_received)
