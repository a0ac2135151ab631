"""Accuracy, plain and with test-time augmentation (TTA)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from airbench.data.augment import pad_reflect

View = Callable[[Tensor], Tensor]
"""Images ``(N, C, H, W)`` → the same images seen differently."""


def shifted(rows: int, columns: int) -> View:
    """The image moved by one pixel at most each way, the border filled by reflection."""

    def view(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padded = pad_reflect(images.permute(0, 2, 3, 1), 1)
        moved = padded[:, 1 - rows : 1 - rows + height, 1 - columns : 1 - columns + width]
        return moved.contiguous().permute(0, 3, 1, 2)

    return view


def mirrored(images: Tensor) -> Tensor:
    """The image mirrored left-right."""
    return images.flip(3)


def views(tta: Sequence[str]) -> list[tuple[float, View]]:
    """The views that ``tta`` asks for and their weights, which add up to 1.

    ``translate``: the image (1/2), and it moved one pixel up-left and one down-right (1/4 each).
    ``mirror``: each of those averaged with its mirror image.
    """
    found: list[tuple[float, View]] = [(1.0, lambda images: images)]
    if "translate" in tta:
        found = [(0.5, found[0][1]), (0.25, shifted(-1, -1)), (0.25, shifted(1, 1))]
    if "mirror" in tta:
        found = [
            (weight / 2, flip)
            for weight, view in found
            for flip in (view, lambda images, view=view: mirrored(view(images)))
        ]
    return found


@torch.no_grad()
def predict(net: nn.Module, images: Tensor, tta: Sequence[str], batch_size: int) -> Tensor:
    """Logits ``(N, classes)`` in float32, averaged over the views of ``tta``, for ``(N, C, H, W)``.

    Puts the net into evaluation mode and leaves it there.
    """
    net.eval()
    rows = []
    for batch in images.split(batch_size):
        outputs = [weight * net(view(batch)).float() for weight, view in views(tta)]
        rows.append(torch.stack(outputs).sum(0))
    return torch.cat(rows)


def correct(net: nn.Module, images: Tensor, labels: Tensor, tta: Sequence[str], batch_size: int) -> Tensor:
    """How many of the images are classified correctly, as a tensor on the device: reading it is up to the caller."""
    return (predict(net, images, tta, batch_size).argmax(1) == labels).sum()
