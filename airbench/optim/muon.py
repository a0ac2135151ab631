"""Muon: momentum whose matrices are orthogonalised before the step (Jordan et al. 2024)."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from airbench.optim.orthogonalize import newton_schulz

Orthogonalizer = Callable[[Tensor], Tensor]
"""Matrices ``(..., m, n)`` → their approximate orthogonal factors, the same shape."""


class Muon(Optimizer):
    """Momentum, orthogonalised. For parameters of two or more dimensions, flattened to ``(p.shape[0], -1)``.

    A step, with gradient g and buffer b: b ← momentum · b + g; u = g + momentum · b (nesterov) or b;
    p ← p · (1 - lr · weight_decay) - lr · orthogonalize(u). Every ``renormalize_every`` steps (0: never) p
    is first rescaled to Frobenius norm √p.shape[0]. Matrices of one shape are orthogonalised in one call.

    Raises ValueError for a knob out of range or a parameter that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        *,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        renormalize_every: int = 0,
        orthogonalize: Orthogonalizer = newton_schulz,
    ):
        for name, value, fine in (
            ("lr", lr, lr >= 0),
            ("momentum", momentum, 0 <= momentum < 1),
            ("weight_decay", weight_decay, weight_decay >= 0),
            ("renormalize_every", renormalize_every, renormalize_every >= 0),
        ):
            if not fine:
                raise ValueError(f"Muon: {name} = {value} is out of range")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "renormalize_every": renormalize_every,
            "steps_taken": 0,
        }
        super().__init__(params, defaults)
        self.orthogonalize = orthogonalize

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; all must have two or more dimensions."""
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.ndim < 2 or p.is_complex() or p.is_sparse:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon: a parameter of shape {tuple(p.shape)} and type {p.dtype} is no dense real matrix; "
                    "leave it to another optimizer"
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step. ``closure`` recomputes the loss, as for every PyTorch optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step_group(group, params)
            group["steps_taken"] += 1
        return loss

    def _step_group(self, group: dict[str, Any], params: list[Tensor]) -> None:
        momentum, lr = group["momentum"], group["lr"]
        gradients = [p.grad for p in params if p.grad is not None]
        buffers = [self._buffer(p) for p in params]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        updates: list[Tensor] = buffers
        if group["nesterov"]:
            updates = list(torch._foreach_add(gradients, buffers, alpha=momentum))
        every = group["renormalize_every"]
        if every and group["steps_taken"] % every == 0:
            for p in params:
                p.mul_(len(p) ** 0.5 / torch.linalg.vector_norm(p, dtype=torch.promote_types(p.dtype, torch.float32)))
        if group["weight_decay"]:
            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        for p, update in zip(params, self._orthogonalized(updates), strict=True):
            p.add_(update.view(p.shape), alpha=-lr)

    def _buffer(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer: Tensor = state["momentum_buffer"]
        return buffer

    def _orthogonalized(self, updates: list[Tensor]) -> list[Tensor]:
        """Each update flattened to a matrix and orthogonalised, those of one shape together."""
        matrices = [update.reshape(len(update), -1) for update in updates]
        same_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for i, matrix in enumerate(matrices):
            same_shape[matrix.shape].append(i)
        out = list(matrices)
        for places in same_shape.values():
            results = self.orthogonalize(torch.stack([matrices[i] for i in places]))
            for i, result in zip(places, results.to(matrices[places[0]].dtype), strict=True):
                out[i] = result
        return out
