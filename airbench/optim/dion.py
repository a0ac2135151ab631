"""Dion: orthogonalised momentum of low rank, with error feedback (Ahn et al. 2025, arXiv 2504.05295)."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from airbench.optim.base import GroupwiseOptimizer
from airbench.optim.decay import add, decay, limit_norms
from airbench.optim.groups import OptimizerContext, ParamGroup
from airbench.optim.orthogonalize import Orthogonalizer, inverse_sqrt
from airbench.recipe import optimizers as schema
from airbench.recipe.rounding import rounded_up


class Dion(GroupwiseOptimizer):
    """Updates of rank r, found by one power iteration per step, for parameters of two or more dimensions.

    A step for a matrix ``(m, n)``, flattened to out × rest, with gradient g, buffer b and right factor q ``(n, r)``:
    b ← b + g; P = orthonormalize(b q) ``(m, r)``; R = bᵀ P; b ← b - (1 - momentum) · P Rᵀ; q ← orthonormalize(R);
    p ← p · (1 - lr · weight_decay) - lr · √(m/n) · P qᵀ. What an update cannot represent stays in b.

    The paper orthonormalises b q by a QR decomposition and then normalises the columns of R, which become orthogonal as
    its power iteration converges. Here both are replaced by their orthogonal factors, in matrix products alone, which
    batch well and which a CUDA graph captures. P spans the paper's space, and P qᵀ does not depend on the basis of that
    space: its r singular values are 1 from the first step on, where the paper's become 1. Directions below about 0.001
    of the norm of b q stay small. Buffers are float32.

    ``rank_fraction``: r as a fraction of min(m, n), rounded up. ``max_momentum_norm``: maximum Frobenius norm of b + g.
    Raises ValueError for a setting out of range, a parameter that is not a matrix, and a sparse gradient.
    """

    not_in_state_dict = ("orthonormalize",)
    keeps_type = ("momentum_buffer", "right_factor")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.95,
        *,
        rank_fraction: float = 0.25,
        weight_decay: float = 0.0,
        max_momentum_norm: float | None = None,
        orthonormalize: Orthogonalizer = inverse_sqrt,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "rank_fraction": rank_fraction,
            "weight_decay": weight_decay,
            "max_momentum_norm": max_momentum_norm,
        }
        super().__init__(params, defaults)
        self.orthonormalize = orthonormalize

    def _in_range(self, settings: dict[str, Any]) -> dict[str, bool]:
        return {
            **super()._in_range(settings),
            "rank_fraction": 0 < settings["rank_fraction"] <= 1,
        }

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        if any(p.ndim < 2 for p in group["params"]):
            raise ValueError("Dion: a parameter has fewer than two dimensions; use another optimizer for it")

    def _step_group(self, group: dict[str, Any]) -> None:
        alike: dict[Hashable, list[Tensor]] = defaultdict(list)
        for p in self._with_gradient(group):
            alike[p.device, p.dtype, p.flatten(1).shape].append(p)
        for params in alike.values():
            self._step_alike(group, params)

    def _step_alike(self, group: dict[str, Any], params: list[Tensor]) -> None:
        """Take a step for parameters whose matrices ``(m, n)`` have the same shape, in batched products."""
        lr, (m, n) = group["lr"], params[0].flatten(1).shape
        rank = rounded_up(group["rank_fraction"] * min(m, n))
        states = [self._state(p, rank) for p in params]
        buffers, factors = ([state[key] for state in states] for key in ("momentum_buffer", "right_factor"))
        gradients = [p.grad for p in params if p.grad is not None]
        torch._foreach_add_(buffers, [g.flatten(1).to(buffers[0].dtype) for g in gradients])
        limit_norms(buffers, group["max_momentum_norm"])
        b, q = torch.stack(buffers), torch.stack(factors)
        # A factor of zeros, as at the start and after a gradient of zeros, would stay zero.
        q = torch.where(q.any(-2, keepdim=True), q, _start(n, rank, q.dtype, q.device))
        left = self.orthonormalize(b @ q)
        right = b.mT @ left
        b = torch.baddbmm(b, left, right.mT, alpha=group["momentum"] - 1)
        q = self.orthonormalize(right)
        torch._foreach_copy_(buffers, list(b))
        torch._foreach_copy_(factors, list(q))
        if group["weight_decay"]:
            decay(params, lr * group["weight_decay"])
        for p, update in zip(params, left @ q.mT, strict=True):
            add(p, update.reshape(p.shape), lr, -((m / n) ** 0.5))

    def _state(self, p: Tensor, rank: int) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            matrix, dtype = p.flatten(1), torch.promote_types(p.dtype, torch.float32)
            state["momentum_buffer"] = torch.zeros(matrix.shape, dtype=dtype, device=p.device)
        factor = state.get("right_factor")
        if factor is None or factor.shape[1] != rank:  # at first, or after rank_fraction was set anew
            buffer = state["momentum_buffer"]
            state["right_factor"] = buffer.new_zeros(buffer.shape[1], rank)
        return state


@cache
def _start(n: int, rank: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the right factor to start from: random, and always the same. Kept, since it is copied to the device."""
    start = torch.randn(n, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (start / start.norm(dim=0)).to(device, dtype)


def build(config: schema.Dion, group: ParamGroup, context: OptimizerContext) -> Dion:
    """Build the optimizer that ``config`` describes for ``group``."""
    return Dion(
        group.params,
        lr=config.lr,
        momentum=config.momentum,
        rank_fraction=config.rank_fraction,
        weight_decay=config.weight_decay,
        max_momentum_norm=config.max_momentum_norm,
    )
