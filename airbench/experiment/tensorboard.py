"""Scalars for TensorBoard, if it is installed."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from airbench.errors import AirbenchError
from airbench.training.callback import Callback
from airbench.training.results import EpochRow, TrialResult


class TensorBoard:
    """Writes each trial to ``tensorboard/trial-<i>`` in its run folder.

    Raises AirbenchError if TensorBoard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise AirbenchError("--tensorboard: TensorBoard is not installed; pip install tensorboard") from None
        self.make_writer = SummaryWriter

    def watch(self, run: Path, trial: int) -> "TrialScalars":
        """Return the callback of trial number ``trial`` (from 0)."""
        return TrialScalars(lambda: self.make_writer(str(run / "tensorboard" / f"trial-{trial}")))


class TrialScalars(Callback):
    """Writes loss, accuracies and seconds of one trial after each epoch.

    If that fails, as on a full disk, it says so once and writes no more: training does not depend on it.
    """

    def __init__(self, make_writer: Callable[[], Any]):
        self.writer: Any = None
        self._guarded(lambda: setattr(self, "writer", make_writer()))

    def on_epoch(self, row: EpochRow) -> None:
        """Write the row."""
        self._guarded(lambda: self._write(row))

    def on_end(self, result: TrialResult) -> None:
        """Close the file."""
        self._guarded(self._close)

    def on_fail(self, reason: str) -> None:
        """Close the file."""
        self._guarded(self._close)

    def _write(self, row: EpochRow) -> None:
        if self.writer is None:
            return
        step = round(row.epoch * 1000)  # TensorBoard steps are integers: thousandths of an epoch
        for name in ("train_loss", "train_accuracy", "accuracy", "seconds"):
            self.writer.add_scalar(name, getattr(row, name), step)
        self.writer.flush()

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever TensorBoard's writer and its threads raise
            self.writer = None
            with suppress(OSError, ValueError):
                print(f"airbench: TensorBoard gets no more of this trial ({error}); training goes on", file=sys.stderr)
