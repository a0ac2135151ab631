"""Selection by recorded loss (InfoBatch, Qin et al. 2023, arXiv:2303.04947, section 3)."""

import math
from itertools import groupby

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.epoch import Choice
from airbench.device import send
from airbench.recipe.selections import RecordedLoss
from airbench.training.results import TrialSeeds
from airbench.training.selection.base import Selection, rows_of_epoch
from airbench.training.setup import TrialSetup


class RecordedLossSelection(Selection):
    """Drops easy images at random, on the device: nothing waits for their losses."""

    observes = True

    def __init__(self, setup: TrialSetup):
        self.plan, device = setup.plan, setup.machine.device
        self.losses = torch.full((len(setup.train),), math.inf, device=device)
        """The loss of each image when it was last trained on, ``(N,)`` float32; infinite until then: not easy."""
        self.generator = torch.Generator()

    def start(self, seeds: TrialSeeds) -> None:
        """See :class:`Selection`."""
        self.losses.fill_(math.inf)
        self.generator = seeds.generator("order", "selection")

    def choose(self, order: Tensor, step: int) -> Choice | None:
        """Keep all images of some batches, and a part of others; images whose loss is below the mean are easy."""
        batches, size = order.shape
        sizes = [self.plan.at(step + i).rows for i in range(batches)]
        if min(sizes) == size:
            return None
        easy = self.losses[order] < mean_of_known(self.losses)
        kept, weights, first = list[Tensor](), list[Tensor](), 0
        for rows, run in groupby(sizes):
            last = first + len(list(run))
            rows_kept, weights_kept = self._keep(easy[first:last], rows)
            kept.append(rows_of_epoch(rows_kept, size, first))
            weights.append(weights_kept.flatten())
            first = last
        return Choice(joined(kept), sizes, joined(weights))

    def _keep(self, easy: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """Return which ``rows`` of each batch are kept, and their weights, both ``(batches, rows)``."""
        if rows == easy.shape[1]:
            return torch.arange(rows, device=easy.device).expand(easy.shape), torch.ones(easy.shape, device=easy.device)
        chance = torch.rand(easy.shape, generator=self.generator)
        return thin_out(easy, send(chance, easy.device), rows)

    def observe(self, batch: Batch, losses: Tensor) -> None:
        """See :class:`Selection`."""
        self.losses[batch.index] = losses.float()


def mean_of_known(losses: Tensor) -> Tensor:
    """Return the mean of those ``losses`` ``(N,)`` that are finite, a scalar on the device."""
    return losses.nan_to_num(posinf=0.0).sum() / (losses < math.inf).sum()


def joined(parts: list[Tensor]) -> Tensor:
    """Concatenate ``parts``, without a copy if there is one."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def thin_out(easy: Tensor, chance: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Keep ``rows`` of the B examples of each batch: those not ``easy`` ``(..., B)``, and a random part of the easy.

    ``chance`` ``(..., B)`` are independent uniform random numbers. If a batch has not enough easy ones, those to be
    dropped are drawn from all. Returns the examples kept and their weights, ``(..., rows)``: each example's expected
    weight is 1.
    """
    dropped = easy.shape[-1] - rows
    pool = easy | (easy.sum(-1, keepdim=True) <= dropped)
    order = torch.where(pool, chance, 2.0).sort(descending=True, stable=True)  # first those that are kept anyway
    size = pool.sum(-1, keepdim=True)
    values, kept = order.values[..., :rows], order.indices[..., :rows]
    return kept, torch.where(values < 2, size / (size - dropped), 1.0)


def build_recorded_loss(config: RecordedLoss, setup: TrialSetup) -> RecordedLossSelection:
    """Build the selection for the trials of a setup."""
    return RecordedLossSelection(setup)
