"""Rescaling of parameters to a fixed norm before the update, for any optimizer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from airbench.optim.decay import widest_type


@torch.no_grad()
def rescale(params: Sequence[Tensor], norm: float = 1.0) -> None:
    """Rescale each parameter ``(out, …)`` to Frobenius norm ``norm`` · √out, in place.

    Zeros stay zero: a parameter grows by no more than its type can hold as a factor, 16,384 times in float16.
    """
    params = [p for p in params if p.numel()]
    if params and all(p.is_cuda for p in params):
        _together(params, norm)
        return
    for p in params:
        current = torch.linalg.vector_norm(p, dtype=torch.promote_types(p.dtype, torch.float32))
        wanted = norm * len(p) ** 0.5
        p.mul_(wanted / current.clamp(min=max(wanted, 1.0) * torch.finfo(p.dtype).tiny))


def _together(params: list[Tensor], norm: float) -> None:
    """Do the same in few launches."""
    divisors = list(torch._foreach_norm(params, dtype=widest_type(params)))
    torch._foreach_div_(divisors, [norm * len(p) ** 0.5 for p in params])
    torch._foreach_clamp_min_(divisors, max(torch.finfo(p.dtype).tiny for p in params))
    for p, divisor in zip(params, divisors, strict=True):
        p.div_(divisor)
