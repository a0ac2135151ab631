"""Orthogonalisation as X (XᵀX)^(-1/2), the inverse root by a coupled iteration."""

import torch
from torch import Tensor


def inverse_sqrt(matrices: Tensor, *, steps: int = 15, eps: float = 1e-6) -> Tensor:
    """Compute the orthogonal factors of ``matrices`` ``(..., m, n)``, in float32 or better, which the method needs.

    With A the smaller Gram matrix divided by its trace, plus ``eps`` on the diagonal, Y₀ = A and Z₀ = I, the
    iteration T = (3 I - Z Y) / 2, Y ← Y T, Z ← T Z brings Y to A^(1/2) and Z to A^(-1/2) (Higham 2008,
    "Functions of Matrices", chapter 6). A singular value of s times the Frobenius norm grows by half each
    step until it is near 1, then converges quadratically, to s / √(s² + eps). ``eps`` keeps rounding from making
    eigenvalues of A negative, which the iteration would amplify: it should exceed a few times n · machine epsilon for
    singular n×n Gram matrices. A zero matrix stays zero.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x.to(torch.promote_types(matrices.dtype, torch.float32))
    tiny = torch.finfo(x.dtype).tiny
    x = x / x.abs().amax(dim=(-2, -1), keepdim=True).clamp(min=tiny)  # so that squares do not underflow
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=tiny)
    eye = torch.eye(x.shape[-2], dtype=x.dtype, device=x.device)
    y, z = x @ x.mT + eps * eye, eye.expand(*x.shape[:-1], x.shape[-2])
    for _ in range(steps):
        t = 1.5 * eye - 0.5 * (z @ y)
        y, z = y @ t, t @ z
    x = z @ x
    return x.mT if tall else x
