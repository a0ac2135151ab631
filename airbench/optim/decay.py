"""Weight decay and limits that several optimizers share."""

from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor
from torch.optim.sgd import sgd


@torch.no_grad()
def decay(params: list[Tensor], share: float | Tensor) -> None:
    """Multiply by 1 - share. As a tensor, 1 - share would be rounded to half precision; rounding share is harmless."""
    if not isinstance(share, Tensor):
        torch._foreach_mul_(params, 1 - share)
    elif share.is_cuda:
        _decay_together(params, share)
    else:
        for p in params:
            p.addcmul_(p, share, value=-1)


def _decay_together(params: list[Tensor], share: Tensor) -> None:
    """Subtract ``share`` times each parameter in one launch: a step of SGD whose gradients are the parameters."""
    sgd(
        params, params, [None] * len(params), fused=True, lr=share,
        weight_decay=0, momentum=0, dampening=0, nesterov=False, maximize=False,
    )  # fmt: skip


@torch.no_grad()
def decay_cautiously(p: Tensor, update: Tensor, share: float | Tensor) -> None:
    """Multiply by 1 - ``share`` those elements of ``p`` that subtracting ``update`` does not move away from zero.

    Cautious weight decay (Chen et al. 2025, arXiv:2510.12402, I(u · x ≥ 0)): the others keep their size. Signs are
    compared, since products may underflow.
    """
    add(p, p * (p.sign() * update.sign() >= 0), share, -1.0)


def add(p: Tensor, update: Tensor, lr: float | Tensor, times: float) -> None:
    """Add ``times`` · ``lr`` · ``update`` to ``p``, whether ``lr`` is a number or a tensor on the device."""
    if isinstance(lr, Tensor):
        p.addcmul_(update, lr, value=times)
    else:
        p.add_(update, alpha=lr * times)


def norm_factor(tensor: Tensor, largest: float) -> Tensor:
    """Return the factor that scales ``tensor`` down to a Frobenius norm of ``largest``; 1 if it is not larger."""
    norm = torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
    return largest / norm.clamp(min=largest)


def widest_type(tensors: Iterable[Tensor]) -> torch.dtype:
    """Return the type that holds all of ``tensors``, float32 or better."""
    return reduce(torch.promote_types, (t.dtype for t in tensors), torch.float32)


@torch.no_grad()
def limit_norms(tensors: list[Tensor], largest: float | None) -> None:
    """Scale down each tensor whose Frobenius norm is larger than ``largest``, in place. None: do nothing.

    No value is read on the host. The others keep their bits: they are multiplied by 1.
    """
    if largest is None or not tensors:
        return
    norms = list(torch._foreach_norm(tensors, dtype=widest_type(tensors)))
    torch._foreach_clamp_min_(norms, largest)
    for tensor, norm in zip(tensors, norms, strict=True):
        tensor.mul_((largest / norm).to(tensor.dtype))
