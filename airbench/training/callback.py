"""Who is told how a trial goes."""

from typing import TYPE_CHECKING

from airbench.training.results import EpochRow, TrialResult

if TYPE_CHECKING:
    from airbench.optim.optimizers import Optimizers
    from airbench.training.setup import TrialSetup


class Callback:
    """Is told how a trial goes. It must be quick: steps are reported on the clock. Override what you need."""

    def on_start(self, setup: "TrialSetup", optimizers: "Optimizers") -> None:
        """A trial is about to take its first step, with these optimizers."""

    def on_step(self, step: int, total: int) -> None:
        """``step`` of ``total`` steps have been started."""

    def on_epoch(self, row: EpochRow) -> None:
        """An epoch is over."""

    def on_end(self, result: TrialResult) -> None:
        """The trial has ended with ``result``."""

    def on_fail(self, reason: str) -> None:
        """The trial was stopped."""


class Callbacks(Callback):
    """Several callbacks, told in order."""

    def __init__(self, *callbacks: Callback):
        self.callbacks = callbacks

    def on_start(self, setup: "TrialSetup", optimizers: "Optimizers") -> None:
        """See :class:`Callback`."""
        for callback in self.callbacks:
            callback.on_start(setup, optimizers)

    def on_step(self, step: int, total: int) -> None:
        """See :class:`Callback`."""
        for callback in self.callbacks:
            callback.on_step(step, total)

    def on_epoch(self, row: EpochRow) -> None:
        """See :class:`Callback`."""
        for callback in self.callbacks:
            callback.on_epoch(row)

    def on_end(self, result: TrialResult) -> None:
        """See :class:`Callback`."""
        for callback in self.callbacks:
            callback.on_end(result)

    def on_fail(self, reason: str) -> None:
        """See :class:`Callback`."""
        for callback in self.callbacks:
            callback.on_fail(reason)
