"""Scalars for TensorBoard, where it is installed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.errors import AirbenchError
from airbench.training.trial import EpochRow

if TYPE_CHECKING:
    from airbench.experiment.run import EpochLogger


def open_logger() -> "EpochLogger":
    """A logger that writes each trial to ``tensorboard/trial-<i>`` in its run's folder.

    Raises AirbenchError, with the remedy, where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise AirbenchError("--tensorboard: TensorBoard is not installed; pip install tensorboard") from None
    current: dict[Path, Any] = {}  # trials come one after the other: one writer is open at a time

    def log(run: Path, trial: int, row: EpochRow) -> None:
        folder = run / "tensorboard" / f"trial-{trial}"
        if folder not in current:
            for finished in current.values():
                finished.close()
            current.clear()
            current[folder] = SummaryWriter(str(folder))
        writer = current[folder]
        step = round(row.epoch * 1000)  # TensorBoard counts in whole numbers: thousandths of an epoch
        for name in ("train_loss", "train_accuracy", "accuracy", "seconds"):
            writer.add_scalar(name, getattr(row, name), step)
        writer.flush()

    return log
