"""Many matrices in few calls."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Orthogonalizer = Callable[[Tensor], Tensor]
"""Matrices ``(..., m, n)`` → their approximate orthogonal factors, the same shape."""


def orthogonalize_all(
    matrices: Sequence[Tensor], orthogonalize: Orthogonalizer, *, padded: bool = False
) -> list[Tensor]:
    """``orthogonalize`` applied to each of ``matrices``, tensors ``(..., m, n)`` of any shapes, in their own types.

    Tensors of one shape share a call; with ``padded`` all do, turned to be wide and padded with zeros. Rows and
    columns of zeros stay zero in every method here, so that padding changes nothing but the order of additions.
    """
    return _padded(matrices, orthogonalize) if padded else _by_shape(matrices, orthogonalize)


def _by_shape(matrices: Sequence[Tensor], orthogonalize: Orthogonalizer) -> list[Tensor]:
    same_shape: dict[torch.Size, list[int]] = defaultdict(list)
    for i, matrix in enumerate(matrices):
        same_shape[matrix.shape].append(i)
    out = list(matrices)
    for places in same_shape.values():
        results = orthogonalize(torch.stack([matrices[i] for i in places]))
        for i, result in zip(places, results, strict=True):
            out[i] = result.to(matrices[i].dtype)
    return out


def _padded(matrices: Sequence[Tensor], orthogonalize: Orthogonalizer) -> list[Tensor]:
    wide = [m.mT if m.shape[-2] > m.shape[-1] else m for m in matrices]
    stacks = [m.reshape(-1, *m.shape[-2:]) for m in wide]
    rows, columns = (max(m.shape[d] for m in wide) for d in (-2, -1))
    together = torch.cat([F.pad(s, (0, columns - s.shape[-1], 0, rows - s.shape[-2])) for s in stacks])
    results = orthogonalize(together).split([len(s) for s in stacks])
    out = []
    for matrix, turned, result in zip(matrices, wide, results, strict=True):
        cut = result[..., : turned.shape[-2], : turned.shape[-1]].reshape(turned.shape).to(matrix.dtype)
        out.append(cut.mT if matrix.shape[-2] > matrix.shape[-1] else cut)
    return out
