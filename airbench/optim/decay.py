"""Weight decay and limits that several optimizers share."""

import torch
from torch import Tensor


@torch.no_grad()
def decay_cautiously(p: Tensor, update: Tensor, share: float | Tensor) -> None:
    """Multiply by 1 - ``share`` those elements of ``p`` that subtracting ``update`` moves towards zero.

    Cautious weight decay (Chen et al. 2025, arXiv:2510.12402): the others keep their size.
    """
    agreeing = p * (p * update > 0)
    if isinstance(share, Tensor):
        p.addcmul_(agreeing, share, value=-1)
    else:
        p.sub_(agreeing, alpha=share)


@torch.no_grad()
def limit_norms(tensors: list[Tensor], largest: float | None) -> None:
    """Scale down each tensor whose Frobenius norm is larger than ``largest``, in place. None: do nothing."""
    if largest is None:
        return
    for tensor in tensors:
        norm = torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
        tensor.mul_((largest / norm.clamp(min=largest)).to(tensor.dtype))
