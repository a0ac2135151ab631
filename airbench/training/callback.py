"""Callbacks that follow the progress of a trial."""

from typing import TYPE_CHECKING

from airbench.training.results import EpochRow, TrialResult

if TYPE_CHECKING:
    from airbench.optim.optimizers import Optimizers
    from airbench.training.setup import TrialSetup


class Callback:
    """Follows the progress of a trial. Override what you need, and be quick: ``on_step`` is called on the clock."""

    def on_start(self, setup: "TrialSetup", optimizers: "Optimizers") -> None:
        """Handle the start of a trial, before its first step with these optimizers."""

    def on_step(self, step: int, total: int) -> None:
        """Handle the launch of ``step`` of ``total`` steps (from 1)."""

    def on_epoch(self, row: EpochRow) -> None:
        """Handle the end of an epoch."""

    def on_end(self, result: TrialResult) -> None:
        """Handle the end of the trial, with its ``result``."""

    def on_fail(self, reason: str) -> None:
        """Handle the failure of the trial."""


class Callbacks(Callback):
    """Several callbacks, called in order."""

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
