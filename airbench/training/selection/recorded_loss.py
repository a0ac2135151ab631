"""Selection by recorded loss (InfoBatch, Qin et al. 2023, arXiv:2303.04947, section 3)."""

import math

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.device import send
from airbench.recipe.selections import RecordedLoss
from airbench.training.results import TrialSeeds
from airbench.training.selection.base import Selection, take
from airbench.training.setup import TrialSetup


class RecordedLossSelection(Selection):
    """Drops easy images at random, on the device: nothing waits for their losses."""

    def __init__(self, setup: TrialSetup, seeds: TrialSeeds):
        self.plan, self.device = setup.plan, setup.machine.device
        self.losses = torch.full((len(setup.train),), math.inf, device=self.device)
        """The loss of each image when it was last trained on, ``(N,)`` float32; infinite until then: not easy."""
        self.generator = seeds.generator("order", "selection")

    def choose(self, batch: Batch, step: int) -> Batch:
        """See :class:`Selection`."""
        rows = self.plan.at(step).rows
        if rows == len(batch):
            return batch
        chance = send(torch.rand(len(batch), generator=self.generator), self.device)
        known = self.losses.isfinite()
        mean = torch.where(known, self.losses, 0.0).sum() / known.sum()
        kept, weights = thin_out(self.losses[batch.index] < mean, chance, rows)
        return take(batch, kept, weights)

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
    kept = torch.where(pool, chance, 2.0).topk(rows, sorted=False).indices.sort().values
    size = pool.sum()
    return kept, torch.where(pool[kept], size / (size - dropped), 1.0)


def build_recorded_loss(config: RecordedLoss, setup: TrialSetup, seeds: TrialSeeds) -> RecordedLossSelection:
    """Build the selection for a trial."""
    return RecordedLossSelection(setup, seeds)
