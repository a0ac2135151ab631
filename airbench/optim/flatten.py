"""How a parameter becomes the matrices that are orthogonalised, and how their factors become an update."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, channels_last

from airbench.optim.operator import operator_kernels, operator_matrices


@dataclass(frozen=True)
class Layout:
    """A way to flatten parameters ``(out, in, *positions)``, and its inverse."""

    matrices: Callable[[Tensor], Tensor]
    """A tensor like the parameter → matrices ``(..., m, n)``."""
    update: Callable[[Tensor, Tensor], Tensor]
    """Matrices, and the parameter → a tensor of the parameter's shape."""

    channels: bool = False
    """Whether the matrices map channels, so that the factor on lr takes their number and not the matrices' shape."""

    def lr_shape(self, factor: Tensor, p: Tensor) -> tuple[int, int]:
        """Return the shape m × n that the factor on lr depends on."""
        return (p.shape[0], p.shape[1]) if self.channels else (factor.shape[-2], factor.shape[-1])


FLATTEN: dict[str, Layout] = {
    "out": Layout(
        lambda t: t.flatten(1),
        lambda m, p: m.reshape(p.shape),
    ),
    "out_channels_last": Layout(
        lambda t: t.permute(0, 2, 3, 1).flatten(1),
        lambda m, p: m.reshape(p.shape[0], *p.shape[2:], p.shape[1]).permute(0, 3, 1, 2),
    ),
    "in": Layout(
        lambda t: t.transpose(0, 1).flatten(1),
        lambda m, p: m.reshape(p.shape[1], p.shape[0], *p.shape[2:]).transpose(0, 1),
    ),
    "position": Layout(
        lambda t: t.flatten(2).movedim(-1, 0) if t.ndim > 2 else t,
        lambda m, p: m.movedim(0, -1).reshape(p.shape) if p.ndim > 2 else m.reshape(p.shape),
    ),
}
"""``out``: ``(out, in · positions)``; ``in``: ``(in, out · positions)``; ``position``: ``(positions, out, in)``. The
columns of ``out_channels_last`` are those of ``out``, in the order of memory."""

NAMES = ("out", "in", "position", "operator")
"""The ways that a group can name."""


def layout(name: str, t: Tensor, operator_side: int, padded: bool) -> Layout:
    """Return the way ``name`` to flatten ``t``: without a copy where padded matrices need none.

    The order of a matrix's columns only changes the order in which products are added.
    """
    if name == "operator":
        return operator_layout(operator_side) if t.ndim > 2 else FLATTEN["out"]
    if padded and name == "out" and t.ndim == 4 and t.is_contiguous(memory_format=channels_last):
        return FLATTEN["out_channels_last"]
    return FLATTEN[name]


def operator_layout(side: int) -> Layout:
    """Return the layout of a convolution as a linear map on periodic images of ``side``: see ``optim/operator.py``."""
    return Layout(
        lambda t: operator_matrices(t, side), lambda m, p: operator_kernels(m, tuple(p.shape), side), channels=True
    )
