"""Scalars for TensorBoard, if it is installed."""

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
        return TrialScalars(self.make_writer(str(run / "tensorboard" / f"trial-{trial}")))


class TrialScalars(Callback):
    """Writes loss, accuracies and seconds of one trial after each epoch."""

    def __init__(self, writer: Any):
        self.writer = writer

    def on_epoch(self, row: EpochRow) -> None:
        """Write the row."""
        step = round(row.epoch * 1000)  # TensorBoard steps are integers: thousandths of an epoch
        for name in ("train_loss", "train_accuracy", "accuracy", "seconds"):
            self.writer.add_scalar(name, getattr(row, name), step)
        self.writer.flush()

    def on_end(self, result: TrialResult) -> None:
        """Close the file."""
        self.writer.close()

    def on_fail(self, reason: str) -> None:
        """Close the file."""
        self.writer.close()
