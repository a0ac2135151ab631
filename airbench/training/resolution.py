"""Progressive resolution: smaller images in the first steps of a training, where they teach as much for less."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from airbench.data.batch import Batch
from airbench.recipe.schema import Stage


class Resolution:
    """The side of the training images at each step (Touvron et al. 2019; Tan & Le 2021, section 4)."""

    def __init__(self, stages: Sequence[Stage], total_steps: int, side: int):
        """``side`` is that of the images, to which the steps after the last stage belong."""
        self.total_steps, self.side = total_steps, side
        self._ends = [(round(stage.until * total_steps), stage.side) for stage in stages]

    def side_at(self, step: int) -> int:
        """Return the side of the images at ``step`` (from 0)."""
        return next((side for end, side in self._ends if step < end), self.side)

    def steps_by_side(self) -> dict[int, int]:
        """Return how many steps each side has, in the order of training."""
        steps: Counter[int] = Counter()
        for start, end, side in self._spans():
            steps[side] += end - start
        return dict(steps)

    def first_steps(self) -> list[int]:
        """Return the first step of each side."""
        firsts: dict[int, int] = {}
        for start, _, side in self._spans():
            firsts.setdefault(side, start)
        return list(firsts.values())

    def _spans(self) -> Iterator[tuple[int, int, int]]:
        """Yield the first step of each stage that has steps, the step after its last, and its side."""
        start = 0
        for end, side in (*self._ends, (self.total_steps, self.side)):
            if end > start:
                yield start, end, side
                start = end

    def of(self, batch: Batch, step: int) -> Batch:
        """Return ``batch`` as it is trained on at ``step``: unchanged, or with its images shrunk."""
        side = self.side_at(step)
        return batch if side == batch.images.shape[-1] else replace(batch, images=shrink(batch.images, side))


def shrink(images: Tensor, side: int) -> Tensor:
    """Shrink images ``(N, C, H, W)`` to ``(N, C, side, side)``: each pixel is the mean of those that it touches."""
    small = F.adaptive_avg_pool2d(images, side)
    return small.contiguous(memory_format=torch.channels_last)
