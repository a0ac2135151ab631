"""Approximate orthogonal factors of matrices: what turns momentum into a Muon update."""

import torch
from torch import Tensor

MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""The quintic of Jordan et al. (2024): it lifts small singular values fast and lets them end in about 0.7..1.2."""


def newton_schulz(
    matrices: Tensor,
    *,
    steps: int = 5,
    coefficients: tuple[float, float, float] = MUON_COEFFICIENTS,
    dtype: torch.dtype = torch.bfloat16,
    eps: float = 1e-7,
) -> Tensor:
    """Move the singular values of ``matrices`` ``(..., m, n)`` towards 1 and leave the singular vectors.

    Each matrix is divided by its Frobenius norm (plus ``eps``), then X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X is
    applied ``steps`` times: every singular value s follows s ← a s + b s³ + c s⁵. Tall matrices are
    transposed, so that the Gram matrix is the smaller one. A zero matrix stays zero. Returns ``dtype``.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers"; Bernstein & Newhouse 2024.
    """
    a, b, c = coefficients
    # Divided in float32 at least: in half precision a sum of squares overflows.
    x = matrices.to(torch.promote_types(matrices.dtype, torch.float32))
    x = (x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + eps)).to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
