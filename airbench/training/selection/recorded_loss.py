"""Selection by recorded loss (InfoBatch, Qin et al. 2023, arXiv:2303.04947, section 3)."""

import math

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.device import send_into
from airbench.recipe.selections import RecordedLoss
from airbench.training.results import TrialSeeds
from airbench.training.selection.base import Selection, take
from airbench.training.setup import TrialSetup


class RecordedLossSelection(Selection):
    """Drops easy images at random, on the device: nothing waits for their losses."""

    needs_index = True

    def __init__(self, setup: TrialSetup):
        self.plan, device = setup.plan, setup.machine.device
        self.losses = torch.full((len(setup.train),), math.inf, device=device)
        """The loss of each image when it was last trained on, ``(N,)`` float32; infinite until then: not easy."""
        self.mean = torch.zeros((), device=device)
        """The mean of those that were known when this epoch, or the dropping in it, began; smaller losses are easy."""
        self.chance = torch.zeros(setup.recipe.train.batch_size, device=device)
        """Uniform random numbers for the examples of this step's batch, ``(B,)``."""
        self.generator, self._epoch = torch.Generator(), -1

    def start(self, seeds: TrialSeeds) -> None:
        """See :class:`Selection`."""
        self.losses.fill_(math.inf)
        self.generator, self._epoch = seeds.generator("order", "selection"), -1

    def before_step(self, step: int) -> None:
        """See :class:`Selection`."""
        if self.plan.at(step).rows == len(self.chance):
            return
        send_into(self.chance, torch.rand(len(self.chance), generator=self.generator))
        epoch = int(step / self.plan.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            known = self.losses.isfinite()
            self.mean.copy_(torch.where(known, self.losses, 0.0).sum() / known.sum())

    def choose(self, batch: Batch, step: int) -> Batch:
        """See :class:`Selection`."""
        rows = self.plan.at(step).rows
        if rows == len(batch):
            return batch
        return take(batch, *thin_out(self.losses[batch.index] < self.mean, self.chance, rows))

    def observe(self, batch: Batch, losses: Tensor) -> None:
        """See :class:`Selection`."""
        self.losses[batch.index] = losses.float()


def thin_out(easy: Tensor, chance: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Keep ``rows`` of B examples: all that are not ``easy`` ``(B,)``, and a random part of the easy ones.

    ``chance`` ``(B,)`` are independent uniform random numbers. If there are not enough easy ones, those to be dropped
    are drawn from all. Returns the examples kept and their weights: each example's expected weight is 1.
    """
    dropped = len(easy) - rows
    pool = easy | (easy.sum() <= dropped)
    order = torch.where(pool, chance, 2.0).sort(descending=True, stable=True)  # first those that are kept anyway
    size = pool.sum()
    return order.indices[:rows], torch.where(order.values[:rows] < 2, size / (size - dropped), 1.0)


def build_recorded_loss(config: RecordedLoss, setup: TrialSetup) -> RecordedLossSelection:
    """Build the selection for the trials of a setup."""
    return RecordedLossSelection(setup)
