"""Orthogonalisation by iterating an odd quintic, as in Muon."""

from collections.abc import Sequence

import torch
from torch import Tensor

from airbench.kernels.symmetric import gram as gram_of
from airbench.kernels.symmetric import gram_polynomial
from airbench.optim.orthogonalize.coefficients import MUON, Triple, triples


def newton_schulz(
    matrices: Tensor,
    *,
    steps: int = 5,
    coefficients: str | Sequence[float] | Sequence[Triple] = MUON,
    normalize: str = "frobenius",
    dtype: torch.dtype | None = None,
    eps: float = 1e-7,
    kernel: str = "torch",
) -> Tensor:
    """Move the singular values of ``matrices`` ``(..., m, n)`` towards 1, keeping the singular vectors.

    Each matrix is normalised (see :func:`normalized`), then X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X is applied
    ``steps`` times: every singular value s follows s ← a s + b s³ + c s⁵. ``coefficients`` is one triple, a
    list with one per step, or a name (see :func:`coefficients.triples`). Tall matrices are transposed, so that
    the Gram matrix is the smaller one. A zero matrix stays zero, and so does a row or column of zeros; a
    norm far below ``eps`` also gives nearly zero. ``kernel``: what multiplies the symmetric products of a batch on CUDA
    (see ``kernels/symmetric.py``). Returns ``dtype``; None: bfloat16 for matrices in half precision, else their own.
    Raises ValueError for anything but a batch of floating-point matrices, unknown names, and negative ``steps``.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers"; Bernstein & Newhouse 2024.
    """
    check_matrices(matrices)
    batch, tall = matrices.shape[:-2], matrices.shape[-2] > matrices.shape[-1]
    x = matrices.flatten(0, -3) if len(batch) > 1 else matrices  # a batch has one dimension for the kernels
    x = x.mT if tall else x
    dtype = dtype or default_dtype(x.dtype)
    if not x.numel():
        return matrices.to(dtype)
    x, gram = normalized(x, normalize, dtype, eps, kernel)
    fused = x.is_cuda and x.ndim == 3
    for a, b, c in triples(coefficients, steps):
        if gram is None:
            gram = gram_of(x, kernel)
        x = fused_quintic(x, gram, a, b, c, kernel) if fused else quintic(x, gram, a, b, c)
        gram = None
    x = x.mT if tall else x
    return x.unflatten(0, batch) if len(batch) > 1 else x


def check_matrices(matrices: Tensor) -> None:
    """Raise ValueError unless ``matrices`` is a tensor ``(..., m, n)`` of floating-point numbers."""
    if not isinstance(matrices, Tensor) or matrices.ndim < 2 or not matrices.is_floating_point():
        is_tensor = isinstance(matrices, Tensor)
        given = f"{matrices.dtype} of shape {tuple(matrices.shape)}" if is_tensor else type(matrices).__name__
        raise ValueError(f"matrices: {given}; give a tensor (..., m, n) of floating-point numbers")


def default_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type that matrices of ``dtype`` are iterated in: bfloat16 for half precision, else their own."""
    return torch.bfloat16 if dtype in (torch.float16, torch.bfloat16) else dtype


def quintic(x: Tensor, gram: Tensor, a: float, b: float, c: float) -> Tensor:
    """Return a X + (b G + c G²) X for matrices ``(..., m, n)`` and G = X Xᵀ."""
    return a * x + ((b * gram + c * gram @ gram) @ x if c else b * gram @ x)


def fused_quintic(x: Tensor, gram: Tensor, a: float, b: float, c: float, kernel: str = "torch") -> Tensor:
    """:func:`quintic` for ``(L, m, n)``, with the sums fused into the products: fewer launches and fewer roundings."""
    factor = gram_polynomial(gram, b, c, kernel) if c else b * gram
    return torch.baddbmm(x, factor, x, beta=a)


def normalized(
    x: Tensor, how: str, dtype: torch.dtype, eps: float = 1e-7, kernel: str = "torch"
) -> tuple[Tensor, Tensor | None]:
    """Scale wide matrices ``x`` ``(..., m, n)`` to singular values of at most 1.

    Returns them in ``dtype``, and their Gram matrix if known, multiplied by ``kernel`` (see :func:`newton_schulz`).

    - ``frobenius``: divided by the Frobenius norm plus ``eps``.
    - ``gram``: then also by √‖X Xᵀ‖, the Frobenius norm again, which is (Σ s⁴)^¼: between the largest singular value
      and the Frobenius norm.
    - ``aol``: then row i is divided by √(Σⱼ |X Xᵀ|ᵢⱼ), which bounds the spectral norm by 1 (Prach & Lampert 2022)
      and brings most singular values nearer to it (Turbo-Muon, arXiv 2512.04632). Scaling rows changes the
      singular vectors: the orthogonal factor is that of the scaled matrix.

    Raises ValueError for an unknown name.
    """
    # In float32 or better. A sum of squares overflows easily there, unless the elements are float16.
    wide = torch.promote_types(x.dtype, torch.float32)
    offset: float | Tensor = eps
    if x.dtype != torch.float16:
        x = x.to(wide)
        largest = _largest(x).clamp(min=torch.finfo(x.dtype).tiny)
        x, offset = x / largest, eps / largest
    norms = torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True, dtype=wide)
    x = _quotient(x, norms + offset, dtype)
    if how == "frobenius":
        return x, None
    gram = gram_of(x, kernel)
    gram32 = gram.to(torch.promote_types(dtype, torch.float32))
    if how == "gram":
        norm = torch.linalg.vector_norm(gram32, dim=(-2, -1), keepdim=True).clamp(min=_MIN_DIVISOR)
        return (x * norm.rsqrt()).to(dtype), (gram32 / norm).to(dtype)
    if how == "aol":
        scale = gram32.abs().sum(-1, keepdim=True).clamp(min=_MIN_DIVISOR).rsqrt()
        return (x * scale).to(dtype), (gram32 * scale * scale.mT).to(dtype)
    raise ValueError(f"{how}: no such normalisation; use frobenius, gram or aol")


def _quotient(x: Tensor, divisor: Tensor, dtype: torch.dtype) -> Tensor:
    if x.is_cuda and not x.requires_grad:  # one kernel
        return torch.div(x, divisor, out=torch.empty_like(x, dtype=dtype))
    return (x / divisor).to(dtype)


def _largest(x: Tensor) -> Tensor:
    if x.is_cuda:  # one kernel
        return torch.linalg.vector_norm(x, ord=torch.inf, dim=(-2, -1), keepdim=True)
    return x.abs().amax(dim=(-2, -1), keepdim=True)


_MIN_DIVISOR = 1e-30
"""Minimum divisor, so that a matrix or row of zeros is not divided by zero."""
