"""The interface of selections, and the one that selects everything."""

from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.epoch import Choice
from airbench.training.results import TrialSeeds


class Selection:
    """Chooses which images of each batch are trained on. Used on the clock. This one chooses all.

    A setup has one for all its trials, because ``observe`` is captured in CUDA graphs: it writes to the same memory in
    every trial. Nothing makes the host wait.
    """

    observes = False
    """Whether ``observe`` does anything."""

    def start(self, seeds: TrialSeeds) -> None:
        """Forget the trial before, and begin one."""

    def choose(self, order: Tensor, step: int) -> Choice | None:
        """Choose, as an epoch begins, from its batches; as many images of each as the plan says. None: all.

        ``order`` ``(batches, B)`` are the images; the first batch is that of ``step``.
        """
        return None

    def observe(self, batch: Batch, losses: Tensor) -> None:
        """Take note of the ``losses`` ``(B,)`` of the images that were trained on."""
