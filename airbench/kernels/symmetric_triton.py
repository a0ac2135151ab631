"""The Triton kernel of ``kernels/symmetric.py``. Importing this module needs Triton."""

import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton runs kernels in Python, on the CPU."""

INNER = 64
"""Columns multiplied at a time."""


@triton.jit  # type: ignore[untyped-decorator]
def _symmetric(  # type: ignore[no-untyped-def]
    x, base, out, m, n, x_matrix, x_row, x_column, base_matrix, base_row, alpha, beta,
    BLOCK: tl.constexpr, INNER: tl.constexpr, HAS_BASE: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Compute block (i, j) of out = alpha · X Xᵀ + beta · base for j ≤ i, and write it and its transpose."""
    i, j, matrix = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    if j <= i:
        rows = i * BLOCK + tl.arange(0, BLOCK)
        columns = j * BLOCK + tl.arange(0, BLOCK)
        x += matrix * x_matrix
        product = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
        for start in range(0, n, INNER):
            inner = start + tl.arange(0, INNER)
            left = tl.load(
                x + rows[:, None] * x_row + inner[None, :] * x_column,
                mask=(rows[:, None] < m) & (inner[None, :] < n), other=0.0,
            )  # fmt: skip
            right = tl.load(
                x + columns[:, None] * x_row + inner[None, :] * x_column,
                mask=(columns[:, None] < m) & (inner[None, :] < n), other=0.0,
            )  # fmt: skip
            if WIDE:
                left, right = left.to(tl.float32), right.to(tl.float32)
            product = tl.dot(left, tl.trans(right), product)
        product = alpha * product
        inside = (rows[:, None] < m) & (columns[None, :] < m)
        if HAS_BASE:
            added = base + matrix * base_matrix + rows[:, None] * base_row + columns[None, :]
            product += beta * tl.load(added, mask=inside, other=0.0).to(tl.float32)
        rounded = product.to(out.dtype.element_ty)
        out += matrix * m * m
        below = inside & (rows[:, None] >= columns[None, :])  # no element is written with two different values
        tl.store(out + rows[:, None] * m + columns[None, :], rounded, mask=below)
        tl.store(out + columns[None, :] * m + rows[:, None], rounded, mask=below)


def symmetric(x: Tensor, base: Tensor | None, alpha: float, beta: float, block: int) -> Tensor:
    """Compute alpha · X Xᵀ + beta · base ``(L, m, m)`` for ``x`` ``(L, m, n)`` and symmetric ``base``, rounded once."""
    count, m, n = x.shape
    out = torch.empty(count, m, m, dtype=x.dtype, device=x.device)
    added = x if base is None else base.contiguous()
    blocks = -(-m // block)
    _symmetric[(blocks, blocks, count)](
        x, added, out, m, n, *x.stride(), *added.stride()[:2], alpha, beta,
        BLOCK=block, INNER=INNER, HAS_BASE=base is not None,
        # The interpreter's products of bfloat16 are those of its bits as integers. In float32 they are exact.
        WIDE=INTERPRETED,
        num_warps=8 if block == 128 else 4,
    )  # fmt: skip
    return out


def compiled_for(capability: int, dtype: torch.dtype, block: int, has_base: bool) -> Any:
    """Compile the kernel for GPUs of a compute ``capability`` such as 90, which need not be there."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    pointers = dict.fromkeys(("x", "base", "out"), {torch.float16: "*fp16", torch.bfloat16: "*bf16"}[dtype])
    integers = dict.fromkeys(("m", "n", "x_matrix", "x_row", "x_column", "base_matrix", "base_row"), "i32")
    constants = {"BLOCK": block, "INNER": INNER, "HAS_BASE": has_base, "WIDE": False}
    signature = {**pointers, **integers, "alpha": "fp32", "beta": "fp32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(fn=_symmetric, signature=signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32))
