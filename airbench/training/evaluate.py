"""Accuracy, plain and with test-time augmentation (TTA)."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from airbench.data.augment import pad_reflect
from airbench.recipe.schema import Evaluate

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


def views(knobs: Evaluate) -> list[tuple[float, View]]:
    """The views that ``knobs.tta`` asks for and their weights, which add up to 1; the image itself is the first.

    ``translate``: the image, and it moved one pixel up-left and one down-right, with weights 1/2, 1/4, 1/4 or
    equal ones. ``mirror``: each of those averaged with its mirror image.
    """
    found: list[tuple[float, View]] = [(1.0, lambda images: images)]
    if "translate" in knobs.tta:
        centre, side = (1 / 3, 1 / 3) if knobs.view_weights == "equal" else (0.5, 0.25)
        found = [(centre, found[0][1]), (side, shifted(-1, -1)), (side, shifted(1, 1))]
    if "mirror" in knobs.tta:
        found = [
            (weight / 2, flip)
            for weight, view in found
            for flip in (view, lambda images, view=view: mirrored(view(images)))
        ]
    return found


def augmented(knobs: Evaluate, count: int) -> int:
    """How many of ``count`` images are seen in more views than one."""
    return math.ceil(knobs.uncertain * count) if knobs.tta else 0


@torch.no_grad()
def predict(net: nn.Module, images: Tensor, knobs: Evaluate) -> Tensor:
    """Logits ``(N, classes)`` in float32 for ``(N, C, H, W)``, averaged over the views that ``knobs`` ask for.

    With ``knobs.uncertain`` below 1, first without views, then anew for the images whose largest probability is
    smallest. Puts the net into evaluation mode and leaves it there.
    """
    net.eval()
    count = augmented(knobs, len(images))
    if count == len(images):
        return _averaged(net, images, views(knobs), knobs.batch_size)
    logits = _averaged(net, images, views(plain(knobs)), knobs.batch_size)
    if count:
        doubtful = logits.softmax(1).amax(1).topk(count, largest=False).indices
        again = images.index_select(0, doubtful).contiguous(memory_format=torch.channels_last)
        # The image itself was seen already.
        (weight, _), *others = views(knobs)
        logits[doubtful] = weight * logits[doubtful] + _averaged(net, again, others, knobs.batch_size)
    return logits


def _averaged(net: nn.Module, images: Tensor, weighted: Sequence[tuple[float, View]], batch_size: int) -> Tensor:
    rows = []
    for batch in images.split(batch_size):
        outputs = [weight * net(view(batch)).float() for weight, view in weighted]
        rows.append(torch.stack(outputs).sum(0))
    return torch.cat(rows)


def plain(knobs: Evaluate) -> Evaluate:
    """The same without test-time augmentation."""
    return knobs.model_copy(update={"tta": ()})


def correct(net: nn.Module, images: Tensor, labels: Tensor, knobs: Evaluate) -> Tensor:
    """How many of the images are classified correctly, as a tensor on the device: reading it is up to the caller."""
    return (predict(net, images, knobs).argmax(1) == labels).sum()
