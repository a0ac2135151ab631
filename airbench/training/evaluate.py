"""Accuracy, plain and with test-time augmentation (TTA)."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from airbench.data.transforms.crop import pad_reflect
from airbench.recipe.schema import Evaluate

Forward = Callable[[Tensor], Tensor]
"""Images ``(N, C, H, W)`` → logits ``(N, classes)``."""

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


def views(config: Evaluate) -> list[tuple[float, View]]:
    """The views that ``config.tta`` asks for and their weights, which add up to 1; the image itself is the first.

    ``translate``: the image, and it moved one pixel up-left and one down-right, with weights 1/2, 1/4, 1/4 or
    equal ones. ``mirror``: each of those averaged with its mirror image.
    """
    found: list[tuple[float, View]] = [(1.0, lambda images: images)]
    if "translate" in config.tta:
        centre, side = (1 / 3, 1 / 3) if config.view_weights == "equal" else (0.5, 0.25)
        found = [(centre, found[0][1]), (side, shifted(-1, -1)), (side, shifted(1, 1))]
    if "mirror" in config.tta:
        found = [
            (weight / 2, flip)
            for weight, view in found
            for flip in (view, lambda images, view=view: mirrored(view(images)))
        ]
    return found


def num_augmented(config: Evaluate, count: int) -> int:
    """Return how many of ``count`` images are seen in more than one view."""
    return math.ceil(config.uncertain * count) if config.tta else 0


@torch.no_grad()
def predict(net: nn.Module, images: Tensor, config: Evaluate, forward: Forward | None = None) -> Tensor:
    """Logits ``(N, classes)`` in float32 for ``(N, C, H, W)``, averaged over the views that ``config`` asks for.

    With ``config.uncertain`` below 1, first without views, then once more for the images whose largest probability is
    smallest. Puts the net into evaluation mode and leaves it there. ``forward`` is a compiled version of ``net``.
    """
    net.eval()
    average = partial(_averaged, forward or net, batch_size=config.batch_size)
    count = num_augmented(config, len(images))
    if count == len(images):
        return average(images, views(config))
    logits = average(images, views(config.without_tta()))
    if count:
        doubtful = logits.softmax(1).amax(1).topk(count, largest=False).indices
        again = images.index_select(0, doubtful).contiguous(memory_format=torch.channels_last)
        # The image itself was seen already.
        (weight, _), *others = views(config)
        logits[doubtful] = weight * logits[doubtful] + average(again, others)
    return logits


def _averaged(forward: Forward, images: Tensor, weighted: Sequence[tuple[float, View]], batch_size: int) -> Tensor:
    """Average over the views of each image: one after the other, or on a GPU in one batch, for fewer launches."""
    rows = []
    for batch in images.split(batch_size):
        if batch.is_cuda:
            seen = torch.cat([view(batch) for _, view in weighted])
            outputs = forward(seen.contiguous(memory_format=torch.channels_last)).float().chunk(len(weighted))
        else:
            outputs = tuple(forward(view(batch)).float() for _, view in weighted)
        rows.append(torch.stack([weight * out for (weight, _), out in zip(weighted, outputs, strict=True)]).sum(0))
    return torch.cat(rows)


def num_correct(
    net: nn.Module, images: Tensor, labels: Tensor, config: Evaluate, forward: Forward | None = None
) -> Tensor:
    """Return how many of the images are classified correctly, as a tensor on the device: the caller may wait for it."""
    return (predict(net, images, config, forward).argmax(1) == labels).sum()
