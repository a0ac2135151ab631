"""Batched orthogonalisation: many matrices in few calls."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from functools import reduce

import torch
from torch import Tensor

Orthogonalizer = Callable[[Tensor], Tensor]
"""Matrices ``(..., m, n)`` → their approximate orthogonal factors, the same shape."""


def orthogonalize_all(
    matrices: Sequence[Tensor], orthogonalize: Orthogonalizer, *, padded: bool | None = None
) -> list[Tensor]:
    """Apply ``orthogonalize`` to each of ``matrices``, tensors ``(..., m, n)`` of any shape, type and device.

    Tensors of the same shape share a call; with ``padded``, so do all on a device, transposed if tall and padded with
    zeros (None: on CUDA). Rows and columns of zeros stay zero in every method here, so padding changes only the order
    of additions. Results have the types of ``matrices``, or, if padded, that of ``orthogonalize``.
    """
    in_one = {m.device: m.is_cuda if padded is None else padded for m in matrices}
    calls: dict[Hashable, list[int]] = defaultdict(list)
    for i, m in enumerate(matrices):
        calls[(m.device,) if in_one[m.device] else (m.device, m.dtype, m.shape)].append(i)
    out = list(matrices)
    for places in calls.values():
        mine = [matrices[i] for i in places]
        results = _padded(mine, orthogonalize) if in_one[mine[0].device] else _stacked(mine, orthogonalize)
        for i, result in zip(places, results, strict=True):
            out[i] = result
    return out


def _stacked(matrices: Sequence[Tensor], orthogonalize: Orthogonalizer) -> list[Tensor]:
    return [result.to(matrices[0].dtype) for result in orthogonalize(torch.stack(list(matrices)))]


def _padded(matrices: Sequence[Tensor], orthogonalize: Orthogonalizer) -> list[Tensor]:
    wide = [m.mT if m.shape[-2] > m.shape[-1] else m for m in matrices]
    stacks = [m.reshape(-1, *m.shape[-2:]) for m in wide]
    rows, columns = (max(m.shape[d] for m in wide) for d in (-2, -1))
    dtype = reduce(torch.promote_types, (m.dtype for m in wide))
    together = stacks[0].new_zeros(sum(map(len, stacks)), rows, columns, dtype=dtype)
    places = together.split([len(s) for s in stacks])
    for place, stack in zip(places, stacks, strict=True):
        place[:, : stack.shape[-2], : stack.shape[-1]].copy_(stack)
    results = orthogonalize(together).split([len(s) for s in stacks])
    out = []
    for matrix, turned, result in zip(matrices, wide, results, strict=True):
        cut = result[..., : turned.shape[-2], : turned.shape[-1]].reshape(turned.shape)
        out.append(cut.mT if matrix.shape[-2] > matrix.shape[-1] else cut)
    return out
