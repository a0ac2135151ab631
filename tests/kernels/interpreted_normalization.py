"""Normalisation by Gram matrices that the Triton kernel multiplies, in Triton's interpreter: a program of its own.

    TRITON_INTERPRET=1 python -m tests.kernels.interpreted_normalization

reads cases from standard input as JSON, ``[[L, m, n, dtype, how], …]``, and prints a line of JSON for each: how often
the kernel multiplied, and the largest differences of matrices and Gram matrices from those by PyTorch's product, over
the largest element, in units of the data type's rounding.
"""

import json
import sys

import torch
from torch import Tensor

from airbench.kernels import symmetric, symmetric_triton
from airbench.optim.orthogonalize.newton_schulz import normalized

called = 0
multiply = symmetric_triton.symmetric


def counted(x: Tensor, base: Tensor | None, alpha: float, beta: float, block: int) -> Tensor:
    global called
    called += 1
    return multiply(x, base, alpha, beta, block)


def measure(count: int, m: int, n: int, dtype: str, how: str) -> tuple[int, list[float]]:
    global called
    called = 0
    x = torch.randn(count, m, n, generator=torch.Generator().manual_seed(m + n))
    kind = getattr(torch, dtype)
    found, expected = (normalized(x, how, kind, kernel=kernel) for kernel in ("triton", "torch"))
    errors = []
    for ours, theirs in zip(found, expected, strict=True):
        assert ours is not None
        assert theirs is not None
        error = (ours.float() - theirs.float()).abs().max() / theirs.float().abs().max()
        errors.append(error.item() / torch.finfo(kind).eps)
    return called, errors


if __name__ == "__main__":
    symmetric_triton.symmetric = counted
    symmetric.takes = lambda x: x.ndim == 3 and x.dtype in (torch.float16, torch.bfloat16)
    for case in json.load(sys.stdin):
        print(json.dumps(measure(*case)), flush=True)
