"""Evaluation: accuracy without and with test-time augmentation (TTA)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from airbench.data.transforms.crop import crop, pad_reflect
from airbench.device import send
from airbench.recipe.rounding import rounded_up
from airbench.recipe.schema import Evaluate

Forward = Callable[[Tensor], Tensor]
"""Images ``(N, C, H, W)`` → logits ``(N, classes)``."""


@dataclass(frozen=True)
class View:
    """A view of an image for test-time augmentation, and the weight of its logits."""

    weight: float
    shift: int = 0
    """Pixels by which the image is shifted down and to the right, -1 to 1, filling the border by reflection."""
    mirrored: bool = False
    """Whether it is then flipped horizontally."""

    def of(self, images: Tensor) -> Tensor:
        """Return this view of ``images`` ``(N, C, H, W)``, in the same shape."""
        if self.shift:
            height, width = images.shape[2:]
            padded = pad_reflect(images.permute(0, 2, 3, 1), 1)
            start = 1 - self.shift
            images = padded[:, start : start + height, start : start + width].contiguous().permute(0, 3, 1, 2)
        return images.flip(3) if self.mirrored else images


def views(config: Evaluate) -> list[View]:
    """Return the views for ``config.tta``, whose weights add up to 1; the image itself comes first.

    ``translate``: the image, and the image shifted by one pixel up-left and down-right, with weights 1/2, 1/4, 1/4
    or equal weights. ``mirror``: each of those averaged with its mirror image.
    """
    found = [View(1.0)]
    if "translate" in config.tta:
        centre, side = (1 / 3, 1 / 3) if config.view_weights == "equal" else (0.5, 0.25)
        found = [View(centre), View(side, -1), View(side, 1)]
    if "mirror" in config.tta:
        found = [View(v.weight / 2, v.shift, flip) for v in found for flip in (False, True)]
    return found


def num_augmented(config: Evaluate, count: int) -> int:
    """Return how many of ``count`` images are evaluated in more than one view."""
    return rounded_up(config.uncertain * count) if config.tta else 0


@torch.no_grad()
def predict(net: nn.Module, images: Tensor, config: Evaluate, forward: Forward | None = None) -> Tensor:
    """Compute float32 logits ``(N, classes)`` for ``(N, C, H, W)``, averaged over the views of ``config``.

    With ``config.uncertain`` below 1, evaluates all images without TTA first, then those whose largest probability is
    smallest with it. Puts the net into evaluation mode and leaves it there. ``forward`` is a compiled ``net``.
    """
    net.eval()
    average = partial(_averaged, forward or net, batch_size=config.batch_size)
    count = num_augmented(config, len(images))
    if count == len(images):
        return average(images, views(config))
    # On CUDA, as many images at a time as there are views of a batch with TTA.
    together = config.batch_size * len(views(config)) if images.is_cuda else config.batch_size
    logits = average(images, views(config.without_tta()), batch_size=together)
    if count:
        doubtful = logits.softmax(1).amax(1).topk(count, largest=False).indices
        again = images.index_select(0, doubtful).contiguous(memory_format=torch.channels_last)
        # The logits of the image itself are already known.
        itself, *others = views(config)
        logits[doubtful] = itself.weight * logits[doubtful] + average(again, others)
    return logits


def _averaged(forward: Forward, images: Tensor, seen: Sequence[View], batch_size: int) -> Tensor:
    """Return the weighted average of the logits over the views of each image."""
    if images.is_cuda and len(seen) > 1:
        return _averaged_together(forward, images, seen, batch_size)
    rows = []
    for batch in images.split(batch_size):
        rows.append(torch.stack([view.weight * forward(view.of(batch)).float() for view in seen]).sum(0))
    return torch.cat(rows)


def _averaged_together(forward: Forward, images: Tensor, seen: Sequence[View], batch_size: int) -> Tensor:
    """Do the same with all views of ``batch_size`` images in one gather and one forward pass: fewer launches."""
    count, _, side, _ = images.shape
    padded = pad_reflect(images.permute(0, 2, 3, 1), 1)
    both = torch.cat([padded, padded.flip(2)])
    weights = torch.tensor([view.weight for view in seen])
    offsets = torch.tensor(  # a mirrored view is the crop of the mirrored image at the opposite column
        [[count * v.mirrored, 1 - v.shift, 1 + v.shift if v.mirrored else 1 - v.shift] for v in seen]
    )
    weights, offsets = send(weights, images.device), send(offsets, images.device)
    number = torch.zeros(count, 3, dtype=torch.int64, device=images.device)
    torch.arange(count, out=number[:, 0])
    rows = []
    for batch in number.chunk(math.ceil(count / batch_size)):  # of one size, if possible: each size is compiled
        places = (offsets[:, None] + batch).reshape(-1, 3)  # view by view
        logits = forward(crop(both, places, side).permute(0, 3, 1, 2)).float()
        rows.append(torch.einsum("v,vbc->bc", weights, logits.view(len(seen), len(batch), -1)))
    return torch.cat(rows)


def num_correct(
    net: nn.Module, images: Tensor, labels: Tensor, config: Evaluate, forward: Forward | None = None
) -> Tensor:
    """Return the number of correct predictions as a tensor on the device, without waiting for it."""
    return count_correct(predict(net, images, config, forward), labels)


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Return for how many of ``logits`` ``(N, classes)`` the largest is that of ``labels`` ``(N,)``: a scalar there."""
    return (logits.argmax(1) == labels).sum()
