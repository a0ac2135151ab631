"""Float32 copies of half-precision weights, for optimizers whose steps are too small for half precision."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MasterWeights:
    """Float32 ``copies`` of ``params``: hand the copies to an optimizer, and wrap its steps in before and after.

    For parameters already in float32, such as batch normalisation's, the copy shares their memory: a group has one
    optimizer, which updates them directly.

    Micikevicius et al. 2018, section 3.1.
    """

    def __init__(self, params: Sequence[Tensor]):
        self.params = list(params)
        self.copies = [nn.Parameter(p.detach().float()) for p in params]
        self._pairs = [(p, c) for p, c in zip(self.params, self.copies, strict=True) if p.dtype != c.dtype]
        self._adopt = adopt_together if self._pairs and self._pairs[0][0].is_cuda else adopt_one_by_one

    @torch.no_grad()
    def reset(self) -> None:
        """Copy the weights again."""
        for p, copy in zip(self.params, self.copies, strict=True):
            copy.copy_(p)

    @torch.no_grad()
    def before_step(self) -> None:
        """Copy the gradients, and any change to the weights since the last step, such as lookahead's."""
        for p, copy in zip(self.params, self.copies, strict=True):
            copy.grad = p.grad if p.dtype == copy.dtype or p.grad is None else torch.empty_like(copy)
        gradients = [(copy.grad, p.grad) for p, copy in self._pairs if copy.grad is not None and p.grad is not None]
        copy_all([full for full, _ in gradients], [half for _, half in gradients])
        self._adopt(self._pairs)

    @torch.no_grad()
    def after_step(self) -> None:
        """Round the copies to the weights."""
        trained = [(p, copy) for p, copy in self._pairs if copy.grad is not None]
        copy_all([p for p, _ in trained], [copy for _, copy in trained])
        for copy in self.copies:
            copy.grad = None


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy each of ``sources`` to its target, whatever their types, in as few kernels as there may be."""
    if targets:
        torch._foreach_copy_(targets, sources)


Pairs = Sequence[tuple[Tensor, Tensor]]
"""Weights in half precision, each with its copy in float32."""


def adopt_one_by_one(pairs: Pairs) -> None:
    """Set each element of a copy to its weight, if that is not what the element is rounded to."""
    for p, copy in pairs:
        copy.copy_(torch.where(copy.to(p.dtype) == p, copy, p.float()))


def adopt_together(pairs: Pairs) -> None:
    """Do the same, to the same bits, in a few kernels for all: fast where launches cost more than memory, on a GPU."""
    params, copies = [p for p, _ in pairs], [copy for _, copy in pairs]
    changed = [torch.empty_like(p) for p in params]
    copy_all(changed, copies)
    torch._foreach_sub_(changed, params)
    torch._foreach_sign_(changed)
    torch._foreach_abs_(changed)  # 1 where a weight has changed, else 0
    weights, masks = ([torch.empty_like(copy) for copy in copies] for _ in range(2))
    copy_all(weights, params)
    copy_all(masks, changed)
    torch._foreach_lerp_(copies, weights, masks)  # exact at both ends
