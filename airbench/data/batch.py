"""A batch of training images."""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B images, what they should be classified as, and which images of the split they are."""

    images: Tensor
    """``(B, C, H, W)``, normalised, channels-last."""
    targets: Tensor
    """Class indices ``(B,)`` int64, or probabilities ``(B, classes)`` float32."""
    index: Tensor
    """Positions in the training split, ``(B,)`` int64."""
    weights: Tensor | None = None
    """Weight of each example's loss, ``(B,)`` float32. None: all 1."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def labels(self) -> Tensor:
        """The most probable class of each target, ``(B,)`` int64."""
        return self.targets if self.targets.ndim == 1 else self.targets.argmax(1)


def first_rows(batch: Batch, count: int) -> Batch:
    """Return the first ``count`` examples of ``batch``."""
    if count == len(batch):
        return batch
    weights = None if batch.weights is None else batch.weights[:count]
    return replace(
        batch,
        images=batch.images[:count],
        targets=batch.targets[:count],
        index=batch.index[:count],
        weights=weights,
    )
