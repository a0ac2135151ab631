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

    @torch.no_grad()
    def reset(self) -> None:
        """Copy the weights again."""
        for p, copy in zip(self.params, self.copies, strict=True):
            copy.copy_(p)

    @torch.no_grad()
    def before_step(self) -> None:
        """Copy the gradients, and any change to the weights since the last step, such as lookahead's."""
        for p, copy in zip(self.params, self.copies, strict=True):
            copy.grad = None if p.grad is None else p.grad.float()
            copy.copy_(torch.where(copy.to(p.dtype) == p, copy, p.float()))

    @torch.no_grad()
    def after_step(self) -> None:
        """Round the copies to the weights."""
        for p, copy in zip(self.params, self.copies, strict=True):
            if copy.grad is not None:
                p.copy_(copy)
                copy.grad = None
