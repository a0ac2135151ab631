"""What is drawn for an epoch, and which part of it is trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from airbench.data.transforms import Transform


@dataclass(frozen=True)
class Epoch:
    """What is drawn for an epoch, on the device, a row for each image in the order in which they are shown."""

    order: Tensor
    """The images, ``(N,)``."""
    labels: Tensor
    """Their classes, ``(N,)``."""
    places: Tensor | None
    """Where each one's crop is taken: image, row and column, ``(N, 3)``. None: the whole image."""
    draws: list[tuple[Transform, Tensor]]
    """What the other augmentations draw for it."""
    weights: Tensor | None = None
    """Of its loss, ``(N,)`` float32. None: all 1."""

    def rows(self, rows: slice | Tensor) -> "Epoch":
        """Return some of the rows."""
        places, weights = (None if each is None else each[rows] for each in (self.places, self.weights))
        draws = [(t, draw[rows]) for t, draw in self.draws]
        return Epoch(self.order[rows], self.labels[rows], places, draws, weights)

    def chosen(self, choice: "Choice") -> "Epoch":
        """Return the rows of ``choice``, with its weights."""
        return replace(self.rows(choice.rows), weights=choice.weights)

    def followed_by(self, other: "Epoch") -> "Epoch":
        """Return the rows of both, drawn by the same loader."""
        places = None
        if self.places is not None and other.places is not None:
            places = torch.cat([self.places, other.places])
        pairs = zip(self.draws, other.draws, strict=True)
        return Epoch(
            torch.cat([self.order, other.order]),
            torch.cat([self.labels, other.labels]),
            places,
            [(t, torch.cat([own, others])) for (t, own), (_, others) in pairs],
        )


@dataclass(frozen=True)
class Choice:
    """The images of an epoch's batches that are trained on."""

    rows: Tensor
    """Their rows of the epoch, ``(M,)`` int64, batch after batch."""
    sizes: Sequence[int]
    """How many of them are of each batch: M in all."""
    weights: Tensor | None = None
    """Weight of each one's loss, ``(M,)`` float32. None: all 1."""


Choose = Callable[[Tensor, int], Choice | None]
"""Images of an epoch's batches ``(batches, B)``, and how many batches there were before → what is trained on.

It is called when the epoch begins, and must not make the host wait. None: everything.
"""
