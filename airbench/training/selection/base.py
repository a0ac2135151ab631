"""The interface of selections, and the one that selects everything."""

from dataclasses import replace

from torch import Tensor

from airbench.data.batch import Batch
from airbench.training.results import TrialSeeds


class Selection:
    """Chooses which images of each batch are trained on. Used on the clock. This one chooses all.

    A setup has one for all its trials, because ``choose`` and ``observe`` are captured in CUDA graphs: they read and
    write the same memory in every trial, and never make the host wait.
    """

    needs_index = False
    """Whether it must know which images a batch holds."""

    def start(self, seeds: TrialSeeds) -> None:
        """Forget the trial before, and begin one."""

    def before_step(self, step: int) -> None:
        """Put onto the device what ``choose`` will read there at ``step``."""

    def choose(self, batch: Batch, step: int) -> Batch:
        """Return the part of ``batch`` to train on at ``step``, with as many images as the plan says."""
        return batch

    def observe(self, batch: Batch, losses: Tensor) -> None:
        """Take note of the ``losses`` ``(B,)`` of the images that were trained on."""


def take(batch: Batch, rows: Tensor, weights: Tensor | None = None) -> Batch:
    """Return the images of ``batch`` at ``rows`` ``(K,)``, with ``weights`` ``(K,)`` for their losses."""
    permuted = batch.images.permute(0, 2, 3, 1)  # channels-last in memory: gather whole images
    images = permuted.index_select(0, rows).permute(0, 3, 1, 2)
    return replace(batch, images=images, targets=batch.targets[rows], index=batch.index[rows], weights=weights)
