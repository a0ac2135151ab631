"""The result of a trial, and the seeds that it started from."""

import hashlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from airbench.recipe import Recipe


@dataclass(frozen=True)
class TrialSeeds:
    """Seeds of the three sources of randomness of a trial."""

    init: int
    order: int
    augment: int

    @classmethod
    def of(cls, recipe: Recipe, seed: int) -> "TrialSeeds":
        """Return ``seed`` for all three, except for those that the recipe holds fixed."""
        fixed = recipe.seeds
        return cls(*(seed if own is None else own for own in (fixed.init, fixed.order, fixed.augment)))

    def generator(self, stream: str, purpose: str = "") -> torch.Generator:
        """Create a CPU generator for ``init``, ``order`` or ``augment``; streams of the same seed are independent.

        ``purpose`` names another stream of that seed.
        """
        digest = hashlib.sha256(f"{purpose or stream}:{getattr(self, stream)}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@dataclass(frozen=True)
class EpochRow:
    """The state of a trial after an epoch. Accuracies are between 0 and 1; the loss is per example."""

    epoch: float
    """Passes over the training images so far."""
    train_loss: float
    train_accuracy: float
    """Loss and accuracy of the last batch."""
    accuracy: float
    """On the test images, without test-time augmentation."""
    seconds: float
    """On the clock so far."""


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial."""

    seeds: TrialSeeds
    accuracy: float
    """On the test images, with the recipe's test-time augmentation."""
    plain_accuracy: float
    """On the test images, without."""
    seconds: float
    """On the clock."""
    wall_seconds: float
    """From start to end, including evaluation after each epoch."""
    steps: int
    epochs: list[EpochRow] = field(default_factory=list)
    logits: Tensor | None = field(default=None, repr=False, compare=False)
    """Of the test images, with the recipe's test-time augmentation, ``(N, classes)`` float32 on the CPU."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without the logits."""
        values = asdict(replace(self, logits=None))
        del values["logits"]
        return values
