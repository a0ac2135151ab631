"""Muon: momentum whose matrices are orthogonalised before the step (Jordan et al. 2024)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from airbench.optim.blocks import blocks, check_split, joined, num_rows
from airbench.optim.decay import add, decay_cautiously, limit_norms, norm_factor
from airbench.optim.groups import OptimizerContext, ParamGroup
from airbench.optim.neuron_wise import normalize_neurons
from airbench.optim.orthogonalize import (
    Orthogonalizer,
    build_orthogonalizer,
    ignores_scale,
    newton_schulz,
    orthogonalize_all,
)
from airbench.recipe import optimizers as schema

_ADJUST_LR: dict[str, Callable[[int, int], float]] = {
    "none": lambda rows, columns: 1.0,
    "original": lambda rows, columns: max(1.0, rows / columns) ** 0.5,
    "match_rms_adamw": lambda rows, columns: 0.2 * max(rows, columns) ** 0.5,
    "spectral": lambda rows, columns: (rows / columns) ** 0.5,
}
"""Factor on lr, from the matrix's shape: Jordan et al. 2024; Liu et al. 2025 (arXiv 2502.16982, section 2.2), which
gives updates AdamW's usual root mean square; Bernstein 2025, which bounds the change of the layer's output."""

_FLATTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "out": lambda p: p.flatten(1),
    "out_channels_last": lambda p: p.permute(0, 2, 3, 1).flatten(1),
    "in": lambda p: p.transpose(0, 1).flatten(1),
    "position": lambda p: p.flatten(2).movedim(-1, 0) if p.ndim > 2 else p,
}
"""A parameter ``(out, in, *positions)`` → matrices: ``(out, in · positions)``, ``(in, out · positions)`` or
``(positions, out, in)``. The columns of ``out_channels_last`` are those of ``out``, in the order of memory."""


class Muon(Optimizer):
    """Orthogonalised momentum, for parameters of two or more dimensions, ``(out, in, *positions)``.

    A step, with gradient g and buffer b: b ← momentum · b + g; u = g + momentum · b (nesterov) or b;
    p ← p · (1 - lr · weight_decay) - lr · adjust · orthogonalize(u).

    - ``momentum_convention``: ``sum`` as above; ``lerp``: b ← momentum · b + (1 - momentum) · g and
      u = (1 - momentum) · g + momentum · b, as in torch.optim.Muon.
    - ``flatten``: the shape u is orthogonalised in: ``out`` × rest, ``in`` × rest, or out × in at each ``position``.
    - ``split``: the number of equal blocks of rows of that matrix that are orthogonalised separately, each a matrix of
      its own: 3 for the queries, keys and values that one parameter holds.
    - ``adjust_lr``: factor on lr by the shape m × n of that matrix, or block: ``none``; ``original``: √max(1, m/n);
      ``match_rms_adamw``: 0.2 √max(m, n); ``spectral``: √(m/n).
    - ``neuron_beta``: divide each row of orthogonalize(u) by its root mean square, averaged over steps with this decay
      (NorMuon; see :func:`normalize_neurons`). None: do not.
    - ``cautious_weight_decay``: decay only those weights that the update moves towards zero (Chen et al. 2025,
      arXiv:2510.12402).
    - ``max_momentum_norm``: maximum Frobenius norm of a parameter's buffer, which is scaled down to it before it is
      used.
    - ``max_update_norm``: maximum Frobenius norm of orthogonalize(u), which is scaled down to it.
    - ``lr``: a group's may be a tensor on the device, as a captured CUDA graph requires.
    - ``orthogonalize``: matrices ``(..., m, n)`` → the same shape; ``padded``: in one call for all parameters,
      padded with zeros, instead of one call for each shape. None: on CUDA, where calls cost more than arithmetic.

    Raises ValueError for a setting out of range, a parameter that is not a matrix or that has no ``split`` equal blocks
    of rows, and a sparse gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        *,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        momentum_convention: str = "sum",
        flatten: str = "out",
        split: int = 1,
        adjust_lr: str = "none",
        max_update_norm: float | None = None,
        max_momentum_norm: float | None = None,
        neuron_beta: float | None = None,
        cautious_weight_decay: bool = False,
        orthogonalize: Orthogonalizer = newton_schulz,
        padded: bool | None = None,
    ):
        for name, value, fine in (
            ("lr", lr, lr >= 0),
            ("momentum", momentum, 0 <= momentum < 1),
            ("weight_decay", weight_decay, weight_decay >= 0),
            ("momentum_convention", momentum_convention, momentum_convention in ("sum", "lerp")),
            ("flatten", flatten, flatten in ("out", "in", "position")),
            ("split", split, split >= 1),
            ("adjust_lr", adjust_lr, adjust_lr in _ADJUST_LR),
            ("max_update_norm", max_update_norm, max_update_norm is None or max_update_norm > 0),
            ("max_momentum_norm", max_momentum_norm, max_momentum_norm is None or max_momentum_norm > 0),
            ("neuron_beta", neuron_beta, neuron_beta is None or 0 <= neuron_beta < 1),
        ):
            if not fine:
                raise ValueError(f"Muon: {name} = {value} is out of range")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "momentum_convention": momentum_convention,
            "flatten": flatten,
            "split": split,
            "adjust_lr": adjust_lr,
            "max_update_norm": max_update_norm,
            "max_momentum_norm": max_momentum_norm,
            "neuron_beta": neuron_beta,
            "cautious_weight_decay": cautious_weight_decay,
        }
        super().__init__(params, defaults)
        self.orthogonalize, self.padded = orthogonalize, padded

    def __getstate__(self) -> dict[str, Any]:
        """Include the function in copies and pickles; ``state_dict`` leaves it out."""
        return {**super().__getstate__(), "orthogonalize": self.orthogonalize, "padded": self.padded}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Accept a state that was saved before some setting existed."""
        super().__setstate__(state)
        for group in self.param_groups:
            for key, value in self.defaults.items():
                group.setdefault(key, value)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; all must have two or more dimensions."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            if p.ndim < 2 or p.is_complex() or p.is_sparse:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon: a parameter of shape {tuple(p.shape)} and type {p.dtype} is not a dense real matrix; "
                    "use another optimizer for it"
                )
            rows = num_rows(p, group["flatten"])
            if rows % group["split"]:
                self.param_groups.pop()
                raise ValueError(f"Muon: split = {group['split']} does not divide the {rows} rows of {tuple(p.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step. ``closure`` recomputes the loss, as for any PyTorch optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None and p.numel()]
            if any(p.grad is not None and p.grad.is_sparse for p in params):
                raise ValueError("Muon: sparse gradient; use another optimizer for this parameter")
            if params:
                self._step_group(group, params)
        return loss

    def _step_group(self, group: dict[str, Any], params: list[Tensor]) -> None:
        lr = group["lr"]
        updates = self._updates(group, params)
        if group["weight_decay"] and not group["cautious_weight_decay"]:
            _decay(params, lr * group["weight_decay"])
        flatten = [self._layout(group["flatten"], update) for update in updates]
        matrices = [blocks(_FLATTEN[how](u), group["split"]) for how, u in zip(flatten, updates, strict=True)]
        adjust = _ADJUST_LR[group["adjust_lr"]]
        factors = orthogonalize_all(matrices, self.orthogonalize, padded=self.padded)
        if group["neuron_beta"] is not None:
            moments = [self._moment(p, factor) for p, factor in zip(params, factors, strict=True)]
            factors = normalize_neurons(factors, moments, group["neuron_beta"])
        if group["max_update_norm"] is not None:
            factors = [factor * norm_factor(factor, group["max_update_norm"]) for factor in factors]
        scales = [adjust(*factor.shape[-2:]) for factor in factors]
        for p, how, factor, scale in zip(params, flatten, factors, scales, strict=True):
            update = _unflattened(joined(factor, group["split"]), p, how)
            if group["weight_decay"] and group["cautious_weight_decay"]:
                decay_cautiously(p, update, lr * group["weight_decay"])
            add(p, update, lr, -scale)

    def _layout(self, flatten: str, update: Tensor) -> str:
        """Return the way to flatten ``update``: without a copy where padded matrices need none.

        The order of a matrix's columns only changes the order in which products are added.
        """
        padded = update.is_cuda if self.padded is None else self.padded
        channels_last = update.ndim == 4 and update.is_contiguous(memory_format=torch.channels_last)
        return "out_channels_last" if padded and channels_last and flatten == "out" else flatten

    def _updates(self, group: dict[str, Any], params: list[Tensor]) -> list[Tensor]:
        """Update the momentum buffers and return the updates (Nesterov or not), a tensor like each parameter.

        A sum in float16 would overflow, so there it is ``lerp`` for both conventions: the same buffer and update times
        1 - momentum, which orthogonalisation does not see.
        """
        momentum = group["momentum"]
        gradients = [p.grad for p in params if p.grad is not None]
        buffers = [self._buffer(p) for p in params]
        in_half = params[0].dtype == torch.float16
        if group["momentum_convention"] == "lerp" or in_half:
            torch._foreach_lerp_(buffers, gradients, 1 - momentum)
            limit_norms(buffers, group["max_momentum_norm"])
            updates = list(torch._foreach_lerp(gradients, buffers, momentum)) if group["nesterov"] else buffers
            if group["momentum_convention"] == "lerp" or ignores_scale(self.orthogonalize):
                return updates
            return [update.float() / (1 - momentum) for update in updates]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        limit_norms(buffers, group["max_momentum_norm"])
        return list(torch._foreach_add(gradients, buffers, alpha=momentum)) if group["nesterov"] else buffers

    @torch.no_grad()
    def momentum_matrices(self) -> list[tuple[Tensor, Tensor]]:
        """Return each parameter updated so far and its momentum buffer, as the matrices that are orthogonalised."""
        return [
            (p, blocks(_FLATTEN[group["flatten"]](self.state[p]["momentum_buffer"]), group["split"]))
            for group in self.param_groups
            for p in group["params"]
            if p in self.state
        ]

    def _moment(self, p: Tensor, factor: Tensor) -> Tensor:
        state = self.state[p]
        if "neuron_moment" not in state:
            state["neuron_moment"] = factor.new_zeros((*factor.shape[:-1], 1), dtype=torch.float32)
        moment: Tensor = state["neuron_moment"]
        return moment

    def _buffer(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _decay(params: list[Tensor], share: float | Tensor) -> None:
    """Multiply by 1 - share. As a tensor, 1 - share would be rounded to half precision; rounding share is harmless."""
    if isinstance(share, Tensor):
        for p in params:
            p.addcmul_(p, share, value=-1)
    else:
        torch._foreach_mul_(params, 1 - share)


def _unflattened(matrix: Tensor, p: Tensor, flatten: str) -> Tensor:
    """Invert _FLATTEN for a parameter like ``p``."""
    if flatten == "out_channels_last":
        return matrix.reshape(p.shape[0], *p.shape[2:], p.shape[1]).permute(0, 3, 1, 2)
    if flatten == "in":
        return matrix.reshape(p.shape[1], p.shape[0], *p.shape[2:]).transpose(0, 1)
    if flatten == "position" and p.ndim > 2:
        return matrix.movedim(0, -1).reshape(p.shape)
    return matrix.reshape(p.shape)


def build_muon(config: schema.Muon, group: ParamGroup, context: OptimizerContext) -> Muon:
    """Build the optimizer that ``config`` describes for ``group``."""
    return _build(config, group, context)


def build_normuon(config: schema.NorMuon, group: ParamGroup, context: OptimizerContext) -> Muon:
    """Build the optimizer that ``config`` describes for ``group``."""
    return _build(config, group, context, neuron_beta=config.neuron_beta)


def _build(config: schema.Muon, group: ParamGroup, context: OptimizerContext, **more: Any) -> Muon:
    return Muon(
        group.params,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        momentum_convention=config.momentum_convention,
        flatten=config.flatten,
        split=check_split(group.name, config.orthogonalize.split, group.param_names, group.params, config.flatten),
        adjust_lr=config.adjust_lr,
        max_update_norm=config.max_update_norm,
        max_momentum_norm=config.max_momentum_norm,
        cautious_weight_decay=config.cautious_weight_decay,
        orthogonalize=build_orthogonalizer(config.orthogonalize, context.weight_dtype),
        padded=None if config.batching == "auto" else config.batching == "padded",
        **more,
    )
