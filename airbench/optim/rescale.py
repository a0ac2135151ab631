"""Rescaling of parameters to a fixed norm, before the update of whatever optimizer."""

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def rescale(params: Sequence[Tensor], norm: float = 1.0) -> None:
    """Rescale each parameter ``(out, …)`` to Frobenius norm ``norm`` · √out, in place. Zeros stay zeros."""
    for p in params:
        current = torch.linalg.vector_norm(p, dtype=torch.promote_types(p.dtype, torch.float32))
        p.mul_(norm * len(p) ** 0.5 / current.clamp(min=1e-30))
