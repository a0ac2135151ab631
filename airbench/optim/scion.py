"""Scion: steps of a fixed size in a norm that suits the layer (Pethick et al. 2025, arXiv 2502.07529)."""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor

from airbench.errors import RecipeError
from airbench.optim.base import GroupwiseOptimizer
from airbench.optim.decay import add, decay, limit_norms
from airbench.optim.groups import OptimizerContext, ParamGroup
from airbench.optim.orthogonalize import Orthogonalizer, build_orthogonalizer, newton_schulz, orthogonalize_all, pads
from airbench.recipe import optimizers as schema

EPS = 1e-8


class Scion(GroupwiseOptimizer):
    """Conditional-gradient steps towards the minimiser of ⟨momentum, ·⟩ over a norm ball, for any parameter.

    A step, with gradient g and buffer b: b ← momentum · b + (1 - momentum) · g; p ← (1 - lr) · p - lr · radius · D(b),
    or without the factor 1 - lr if not ``constrained``. -D(b) minimises ⟨b, ·⟩ over the unit ball (the LMO):

    - ``spectral``: √(out/in) / positions · orthogonalize(b), flattened to ``(out, in · positions)``: the norm is that
      of the map from inputs to outputs, both measured by their root mean square, so that a learning rate for one width
      suits another.
    - ``sign``: sign(b) / inputs, for the last layer: no output changes by more than lr · radius for inputs up to 1.
    - ``rms``: b over its root mean square, for biases and gains.
    - ``auto``: ``spectral`` for parameters of two or more dimensions, else ``rms``.

    ``max_momentum_norm``: maximum Frobenius norm of b. ``padded``: as in Muon.
    Raises ValueError for a setting out of range, a matrix norm of a vector, and a sparse gradient.
    """

    not_in_state_dict = ("orthogonalize", "padded")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.05,
        momentum: float = 0.9,
        *,
        norm: str = "auto",
        radius: float = 1.0,
        constrained: bool = True,
        max_momentum_norm: float | None = None,
        orthogonalize: Orthogonalizer = newton_schulz,
        padded: bool | None = None,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "norm": norm,
            "radius": radius,
            "constrained": constrained,
            "max_momentum_norm": max_momentum_norm,
        }
        super().__init__(params, defaults)
        self.orthogonalize, self.padded = orthogonalize, pads(orthogonalize, padded)

    def _in_range(self, settings: dict[str, Any]) -> dict[str, bool]:
        return {
            **super()._in_range(settings),
            "norm": settings["norm"] in ("auto", "spectral", "sign", "rms"),
            "radius": settings["radius"] > 0,
        }

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        if group["norm"] == "spectral" and any(p.ndim < 2 for p in group["params"]):
            raise ValueError(
                "Scion: norm = spectral is for parameters of two or more dimensions; use auto, rms or sign"
            )

    def _step_group(self, group: dict[str, Any]) -> None:
        params = self._with_gradient(group)
        if not params:
            return
        lr = group["lr"]
        buffers = [self._buffer(p) for p in params]
        torch._foreach_lerp_(buffers, [p.grad for p in params if p.grad is not None], 1 - group["momentum"])
        limit_norms(buffers, group["max_momentum_norm"])
        directions = self._directions(group["norm"], buffers)
        if group["constrained"]:
            decay(params, lr)
        for p, direction in zip(params, directions, strict=True):
            add(p, direction, lr, -group["radius"])

    def _directions(self, norm: str, buffers: list[Tensor]) -> list[Tensor]:
        norms = [("spectral" if b.ndim > 1 else "rms") if norm == "auto" else norm for b in buffers]
        matrices = [b.flatten(1) for b, kind in zip(buffers, norms, strict=True) if kind == "spectral"]
        factors = iter(orthogonalize_all(matrices, self.orthogonalize, padded=self.padded))
        return [
            _spectral_scale(b.shape) * next(factors).reshape(b.shape) if kind == "spectral" else _VECTOR[kind](b)
            for b, kind in zip(buffers, norms, strict=True)
        ]


def _spectral_scale(shape: torch.Size) -> float:
    return (shape[0] / shape[1]) ** 0.5 / prod(shape[2:])


def _sign(b: Tensor) -> Tensor:
    return b.sign() / prod(b.shape[1:])


def _rms(b: Tensor) -> Tensor:
    wide = b.to(torch.promote_types(b.dtype, torch.float32))
    return (wide / (wide.square().mean().sqrt() + EPS)).to(b.dtype)


_VECTOR: dict[str, Callable[[Tensor], Tensor]] = {"sign": _sign, "rms": _rms}


def build(config: schema.Scion, group: ParamGroup, context: OptimizerContext) -> Scion:
    """Build the optimizer that ``config`` describes for ``group``. Raises RecipeError for ``spectral`` on a vector."""
    vectors = [name for name, p in zip(group.param_names, group.params, strict=True) if p.ndim < 2]
    if config.norm == "spectral" and vectors:
        raise RecipeError(
            f"optimizers.{group.name}.norm = spectral: not a matrix: {', '.join(vectors)}; use auto, rms or sign"
        )
    if config.orthogonalize.split > 1:
        raise RecipeError(
            f"optimizers.{group.name}.orthogonalize.split = {config.orthogonalize.split}: scion splits no matrices; "
            "leave it out, or use muon"
        )
    return Scion(
        group.params,
        lr=config.lr,
        momentum=config.momentum,
        norm=config.norm,
        radius=config.radius,
        constrained=config.constrained,
        max_momentum_norm=config.max_momentum_norm,
        orthogonalize=build_orthogonalizer(config.orthogonalize, context.weight_dtype),
    )
