"""The loss, shared by training, profiler and benchmark."""

import torch.nn.functional as F
from torch import Tensor


def losses(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Return the cross-entropy of each example, ``(B,)`` float32, for logits ``(B, classes)`` of any dtype.

    ``targets`` are class indices ``(B,)`` or probabilities ``(B, classes)``; the fraction ``label_smoothing`` of a
    target is spread over all classes (Szegedy et al. 2016).
    """
    return F.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing, reduction="none")
