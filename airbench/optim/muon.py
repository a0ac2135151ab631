"""Muon: momentum whose matrices are orthogonalised before the step (Jordan et al. 2024)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from airbench.optim.base import GroupwiseOptimizer, is_limit
from airbench.optim.blocks import blocks, check_split, joined, num_rows
from airbench.optim.decay import add, decay, decay_cautiously, limit_norms, norm_factor
from airbench.optim.flatten import NAMES, Layout, layout
from airbench.optim.groups import OptimizerContext, ParamGroup
from airbench.optim.neuron_wise import normalize_neurons
from airbench.optim.orthogonalize import (
    Orthogonalizer,
    build_orthogonalizer,
    ignores_scale,
    newton_schulz,
    orthogonalize_all,
    pads,
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


class Muon(GroupwiseOptimizer):
    """Orthogonalised momentum, for parameters of two or more dimensions, ``(out, in, *positions)``.

    A step, with gradient g and buffer b: b ← momentum · b + g; u = g + momentum · b (nesterov) or b;
    p ← p · (1 - lr · weight_decay) - lr · adjust · orthogonalize(u).

    - ``momentum_convention``: ``sum`` as above; ``lerp``: b ← momentum · b + (1 - momentum) · g and
      u = (1 - momentum) · g + momentum · b, as in torch.optim.Muon.
    - ``flatten``: the shape u is orthogonalised in: ``out`` × rest, ``in`` × rest, out × in at each ``position``, or at
      each frequency of periodic images of ``operator_side``: the ``operator`` that a convolution is on images.
    - ``split``: the number of equal blocks of rows of that matrix that are orthogonalised separately, each a matrix of
      its own: 3 for the queries, keys and values that one parameter holds.
    - ``adjust_lr``: factor on lr by the shape m × n of that matrix, or block (``operator``: out × in): ``none``;
      ``original``: √max(1, m/n); ``match_rms_adamw``: 0.2 √max(m, n); ``spectral``: √(m/n).
    - ``neuron_beta``: divide each row of orthogonalize(u) by its root mean square, averaged over steps with this decay
      (NorMuon; see :func:`normalize_neurons`). None: do not.
    - ``cautious_weight_decay``: decay only weights that the update does not move away from zero (Chen et al. 2025,
      arXiv:2510.12402).
    - ``max_momentum_norm``: maximum Frobenius norm of a parameter's buffer, which is scaled down to it before it is
      used.
    - ``max_update_norm``: maximum Frobenius norm of orthogonalize(u), which is scaled down to it.
    - ``lr``: a group's may be a tensor on the device, as a captured CUDA graph requires.
    - ``orthogonalize``: matrices ``(..., m, n)`` → the same shape; ``padded``: in one call for all parameters,
      transposed if tall and padded with zeros, instead of one call for each shape. None: on CUDA, where calls cost
      more than arithmetic, for the methods of this package; any other function gets the matrices as they are.

    Raises ValueError for a setting out of range, a parameter that is not a matrix or that has no ``split`` equal blocks
    of rows, and a sparse gradient.
    """

    not_in_state_dict = ("orthogonalize", "padded")
    keeps_type = ("neuron_moment",)

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
        operator_side: int = 8,
        split: int = 1,
        adjust_lr: str = "none",
        max_update_norm: float | None = None,
        max_momentum_norm: float | None = None,
        neuron_beta: float | None = None,
        cautious_weight_decay: bool = False,
        orthogonalize: Orthogonalizer = newton_schulz,
        padded: bool | None = None,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "momentum_convention": momentum_convention,
            "flatten": flatten,
            "operator_side": operator_side,
            "split": split,
            "adjust_lr": adjust_lr,
            "max_update_norm": max_update_norm,
            "max_momentum_norm": max_momentum_norm,
            "neuron_beta": neuron_beta,
            "cautious_weight_decay": cautious_weight_decay,
        }
        super().__init__(params, defaults)
        self.orthogonalize, self.padded = orthogonalize, pads(orthogonalize, padded)

    def _in_range(self, settings: dict[str, Any]) -> dict[str, bool]:
        beta = settings["neuron_beta"]
        return {
            **super()._in_range(settings),
            "momentum_convention": settings["momentum_convention"] in ("sum", "lerp"),
            "flatten": settings["flatten"] in NAMES,
            "operator_side": settings["operator_side"] >= 1,
            "split": settings["split"] >= 1,
            "adjust_lr": settings["adjust_lr"] in _ADJUST_LR,
            "max_update_norm": is_limit(settings["max_update_norm"]),
            "neuron_beta": beta is None or 0 <= beta < 1,
        }

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        if group["split"] > 1 and group["flatten"] == "operator":
            raise ValueError(f"Muon: split = {group['split']} splits rows, and flatten = operator makes none")
        for p in group["params"]:
            if p.ndim < 2 or p.is_complex() or p.is_sparse:
                raise ValueError(
                    f"Muon: a parameter of shape {tuple(p.shape)} and type {p.dtype} is not a dense real matrix; "
                    "use another optimizer for it"
                )
            rows = num_rows(p, group["flatten"])
            if rows % group["split"]:
                raise ValueError(f"Muon: split = {group['split']} does not divide the {rows} rows of {tuple(p.shape)}")

    def _step_group(self, group: dict[str, Any]) -> None:
        params = self._with_gradient(group)
        if not params:
            return
        lr = group["lr"]
        updates = self._updates(group, params)
        if group["weight_decay"] and not group["cautious_weight_decay"]:
            decay(params, lr * group["weight_decay"])
        layouts = [self._layout(group, update) for update in updates]
        matrices = [blocks(how.matrices(u), group["split"]) for how, u in zip(layouts, updates, strict=True)]
        factors = orthogonalize_all(matrices, self.orthogonalize, padded=self.padded)
        if group["neuron_beta"] is not None:
            moments = [self._moment(p, factor) for p, factor in zip(params, factors, strict=True)]
            factors = normalize_neurons(factors, moments, group["neuron_beta"])
        for p, how, factor in zip(params, layouts, factors, strict=True):
            update = how.update(joined(factor, group["split"]), p)
            if group["max_update_norm"] is not None:
                update = update * norm_factor(update, group["max_update_norm"])
            if group["weight_decay"] and group["cautious_weight_decay"]:
                decay_cautiously(p, update, lr * group["weight_decay"])
            add(p, update, lr, -_ADJUST_LR[group["adjust_lr"]](*how.lr_shape(factor, p)))

    def _layout(self, group: dict[str, Any], update: Tensor) -> Layout:
        padded = update.is_cuda if self.padded is None else self.padded
        return layout(group["flatten"], update, group["operator_side"], padded)

    def _updates(self, group: dict[str, Any], params: list[Tensor]) -> list[Tensor]:
        """Update the momentum buffers and return the updates (Nesterov or not), a tensor like each parameter.

        A sum in float16 would overflow, so there it is ``lerp`` for both conventions: the same buffer and update times
        1 - momentum, which orthogonalisation does not see. The limit on the buffer's norm is that of the convention.
        """
        momentum = group["momentum"]
        gradients = [p.grad for p in params if p.grad is not None]
        buffers = [self._buffer(p) for p in params]
        largest = group["max_momentum_norm"]
        lerp, in_half = group["momentum_convention"] == "lerp", any(p.dtype == torch.float16 for p in params)
        if lerp or in_half:
            torch._foreach_lerp_(buffers, gradients, 1 - momentum)
            limit_norms(buffers, largest if lerp or largest is None else (1 - momentum) * largest)
            updates = list(torch._foreach_lerp(gradients, buffers, momentum)) if group["nesterov"] else buffers
            if lerp or ignores_scale(self.orthogonalize):
                return updates
            return [update.float() / (1 - momentum) for update in updates]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        limit_norms(buffers, largest)
        return list(torch._foreach_add(gradients, buffers, alpha=momentum)) if group["nesterov"] else buffers

    def _matrices_of(self, group: dict[str, Any], p: Tensor) -> Tensor:
        """Return a parameter's momentum buffer as one or more matrices."""
        return layout(group["flatten"], p, group["operator_side"], False).matrices(self.state[p]["momentum_buffer"])

    @torch.no_grad()
    def momentum_matrices(self) -> list[tuple[Tensor, Tensor]]:
        """Return each parameter updated so far and its momentum buffer, as the matrices that are orthogonalised."""
        return [
            (p, blocks(self._matrices_of(group, p), group["split"]))
            for group in self.param_groups
            for p in group["params"]
            if p in self.state
        ]

    def _moment(self, p: Tensor, factor: Tensor) -> Tensor:
        state, shape = self.state[p], (*factor.shape[:-1], 1)
        if "neuron_moment" not in state or state["neuron_moment"].shape != shape:  # split or flatten was set anew
            state["neuron_moment"] = factor.new_zeros(shape, dtype=torch.float32)
        moment: Tensor = state["neuron_moment"]
        return moment


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
        operator_side=config.operator_side,
        split=check_split(group.name, config.orthogonalize.split, group.param_names, group.params, config.flatten),
        adjust_lr=config.adjust_lr,
        max_update_norm=config.max_update_norm,
        max_momentum_norm=config.max_momentum_norm,
        cautious_weight_decay=config.cautious_weight_decay,
        orthogonalize=build_orthogonalizer(config.orthogonalize, context.weight_dtype),
        padded=None if config.batching == "auto" else config.batching == "padded",
        **more,
    )
