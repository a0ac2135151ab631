"""Selection by recorded loss (InfoBatch, Qin et al. 2023, arXiv:2303.04947, section 3)."""

import math

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.epoch import Choice
from airbench.device import send
from airbench.errors import RecipeError
from airbench.recipe.selections import RecordedLoss
from airbench.training.results import TrialSeeds
from airbench.training.selection.base import Selection
from airbench.training.setup import TrialSetup


class RecordedLossSelection(Selection):
    """Drops easy images at random, on the device: nothing waits for their losses."""

    observes = True

    def __init__(self, setup: TrialSetup):
        self.plan, device = setup.plan, setup.machine.device
        self.losses = torch.full((len(setup.train),), math.inf, device=device)
        """The loss of each image when it was last trained on, ``(N,)`` float32; infinite until then: not easy."""
        self.last: Tensor | None = None
        """Memory of :func:`last_rows`, ``(N,)``; None if no batch holds an image twice."""
        if setup.recipe.train.last_batch == "carry_over":
            self.last = torch.zeros(len(setup.train), dtype=torch.int64, device=device)
        self.generator = torch.Generator()

    def start(self, seeds: TrialSeeds) -> None:
        """See :class:`Selection`."""
        self.losses.fill_(math.inf)
        self.generator = seeds.generator("order", "selection")

    def choose(self, order: Tensor, step: int) -> Choice | None:
        """Thin out the batches of which the plan trains on a part, and keep the others whole."""
        batches, size = order.shape
        sizes = [self.plan.at(step + i).rows for i in range(batches)]
        fewest = min(sizes)
        if fewest == size:
            return None
        thinned = slice(sizes.index(fewest), sizes.index(fewest) + sizes.count(fewest))
        easy = self.losses[order[thinned]] < mean_of_known(self.losses)
        # Drawn for all batches, so that every epoch's numbers take the same pinned memory.
        chance = send(torch.rand(order.shape, generator=self.generator), order.device)
        kept, weights = thin_out(easy, chance[thinned], fewest)
        rows = torch.arange(order.numel(), device=order.device).view_as(order)
        ones = torch.ones_like(chance)
        return Choice(
            in_place_of(thinned, rows[thinned].gather(1, kept), rows), sizes, in_place_of(thinned, weights, ones)
        )

    def observe(self, batch: Batch, losses: Tensor) -> None:
        """See :class:`Selection`. Of an image that two epochs brought into one batch, the later loss is kept."""
        values = losses.float()
        self.losses[batch.index] = values if self.last is None else values[last_rows(batch.index, self.last)]


def last_rows(index: Tensor, memory: Tensor) -> Tensor:
    """Return for each row of ``index`` ``(B,)`` the last row with the same value, ``(B,)`` int64.

    Writing to ``x[index]`` what is in those rows has one result, whichever thread of a GPU is last. ``memory`` ``(N,)``
    int64 is overwritten; ``index`` is below N.
    """
    rows = torch.arange(len(index), device=index.device)
    return memory.scatter_reduce_(0, index, rows, "amax", include_self=False)[index]


def mean_of_known(losses: Tensor) -> Tensor:
    """Return the mean of those ``losses`` ``(N,)`` that are finite, a scalar on the device."""
    return losses.nan_to_num(posinf=0.0).sum() / (losses < math.inf).sum()


def in_place_of(part: slice, thinned: Tensor, whole: Tensor) -> Tensor:
    """Return ``whole`` ``(batches, B)`` with ``thinned`` ``(…, K)`` instead of those batches of it, as one row."""
    return torch.cat([whole[: part.start].flatten(), thinned.flatten(), whole[part.stop :].flatten()])


def thin_out(easy: Tensor, chance: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Keep ``rows`` of the B examples of each batch: those not ``easy`` ``(..., B)``, and a random part of the easy.

    ``chance`` ``(..., B)`` are independent uniform random numbers. If a batch does not have enough easy ones, those
    to be dropped are drawn from all. Returns the examples kept and their weights, ``(..., rows)``: the expected weight
    of each example is 1.
    """
    dropped = easy.shape[-1] - rows
    pool = easy | (easy.sum(-1, keepdim=True) <= dropped)
    order = torch.where(pool, chance, 2.0).sort(descending=True, stable=True)  # first those that are kept anyway
    size = pool.sum(-1, keepdim=True)
    values, kept = order.values[..., :rows], order.indices[..., :rows]
    return kept, torch.where(values < 2, size / (size - dropped), 1.0)


def build_recorded_loss(config: RecordedLoss, setup: TrialSetup) -> RecordedLossSelection:
    """Build the selection for the trials of a setup. Raises RecipeError if a batch has nothing to drop."""
    size = setup.recipe.train.batch_size
    if config.dropped(size) == 0:
        raise RecipeError(
            f"train.selection.drop = {config.drop:g}: of a batch of {size} images, that is less than one; "
            "give more, or leave out the selection"
        )
    return RecordedLossSelection(setup)
