"""What a step is given, which may change with training: how many images, of which size, how smooth their labels."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from airbench.data.batch import Batch, first_rows
from airbench.recipe.schema import Train


@dataclass(frozen=True)
class StepKind:
    """What decides which kernels a step executes, apart from its optimizers."""

    rows: int
    """Images that are trained on."""
    side: int
    """Their height and width in pixels."""
    label_smoothing: float

    def example(self, batch: Batch) -> Batch:
        """Return a batch of this kind, of the first images of ``batch``, which is whole and at full size."""
        return resized(first_rows(batch, self.rows), self.side)


class Plan:
    """The kind of every step: selection of examples, progressive resolution, the end of label smoothing.

    Progressive resolution (Touvron et al. 2019; Tan & Le 2021, section 4) trains on smaller images first, where they
    teach as much for less.
    """

    def __init__(self, train: Train, total_steps: int, per_epoch: float, side: int):
        """``side`` is that of the images, to which the steps after the last stage belong."""
        self.train, self.total_steps, self.per_epoch, self.side = train, total_steps, per_epoch, side
        self._ends = [(round(stage.until * total_steps), stage.side) for stage in train.resolution]
        self._smooth_until = round(train.label_smoothing_until * total_steps)

    def at(self, step: int) -> StepKind:
        """Return the kind of ``step`` (from 0)."""
        train = self.train
        rows = train.batch_size
        if train.selection is not None:
            rows = train.selection.rows_at(step, self.total_steps, self.per_epoch, rows)
        side = next((side for end, side in self._ends if step < end), self.side)
        return StepKind(rows, side, train.label_smoothing if step < self._smooth_until else 0.0)

    def spans(self) -> Iterator[tuple[int, int, StepKind]]:
        """Yield the first step of each part of the training, the step after its last, and the kind of its steps."""
        starts = {0, self._smooth_until, *(end for end, _ in self._ends)}
        if self.train.selection is not None:
            starts.update(self.train.selection.changes(self.total_steps, self.per_epoch))
        inside = sorted(start for start in starts if start < self.total_steps)
        for start, end in zip(inside, [*inside[1:], self.total_steps], strict=True):
            yield start, end, self.at(start)

    def first_steps(self) -> list[int]:
        """Return the first step of each kind."""
        firsts: dict[StepKind, int] = {}
        for start, _, kind in self.spans():
            firsts.setdefault(kind, start)
        return list(firsts.values())

    def steps_by_kind(self) -> dict[StepKind, int]:
        """Return how many steps each kind has, in the order of training."""
        steps: Counter[StepKind] = Counter()
        for start, end, kind in self.spans():
            steps[kind] += end - start
        return dict(steps)

    def selects(self) -> bool:
        """Return whether any step trains on fewer images than its batch has."""
        return any(kind.rows < self.train.batch_size for kind in self.steps_by_kind())

    def describe(self) -> str:
        """Return the plan in words: ``86 steps of 1024 images, at 24×24; 86 steps of 1024 images``."""
        train, parts = self.train, []
        for kind, count in self.steps_by_kind().items():
            part = f"{count} steps of {train.batch_size} images"
            if kind.rows != train.batch_size:
                part += f", of which {kind.rows} are trained on"
            if kind.side != self.side:
                part += f", at {kind.side}×{kind.side}"
            if kind.label_smoothing != train.label_smoothing:
                part += ", without label smoothing"
            parts.append(part)
        return "; ".join(parts)

    def sized(self, batch: Batch, step: int) -> Batch:
        """Return ``batch`` as it is trained on at ``step``: unchanged, or with its images shrunk."""
        return resized(batch, self.at(step).side)


def resized(batch: Batch, side: int) -> Batch:
    """Return ``batch`` with images of ``side``."""
    return batch if side == batch.images.shape[-1] else replace(batch, images=shrink(batch.images, side))


def shrink(images: Tensor, side: int) -> Tensor:
    """Shrink images ``(N, C, H, W)`` to ``(N, C, side, side)``: each pixel is the mean of those that it touches."""
    small = F.adaptive_avg_pool2d(images, side)
    return small.contiguous(memory_format=torch.channels_last)
