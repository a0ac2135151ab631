"""Exact orthogonalisation, the reference implementation for all other methods."""

import torch
from torch import Tensor


def svd(matrices: Tensor) -> Tensor:
    """Compute the orthogonal factors U Vᵀ of ``matrices`` ``(..., m, n)`` = U S Vᵀ, in their own type.

    Computed in float32 or better. Directions whose singular value is zero to rounding (below
    max(m, n) · machine epsilon of the largest) are left out, so that the factor of a zero matrix is zero and that
    of any matrix has its rank. A batch that contains a NaN or an infinity gives NaN.
    """
    x = matrices.to(torch.promote_types(matrices.dtype, torch.float32))
    valid = x.isfinite().all()
    u, s, vh = torch.linalg.svd(torch.where(valid, x, 0.0), full_matrices=False)  # LAPACK raises for a NaN
    least = s[..., :1] * max(x.shape[-2:]) * torch.finfo(x.dtype).eps
    return torch.where(valid, (u * (s > least).unsqueeze(-2)) @ vh, torch.nan).to(matrices.dtype)
