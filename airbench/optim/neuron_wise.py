"""Neuron-wise normalisation of orthogonalised updates (NorMuon, Li et al. 2025, arXiv:2510.05491)."""

import torch
from torch import Tensor

EPS = 1e-8


@torch.no_grad()
def normalize_neurons(factors: list[Tensor], moments: list[Tensor], beta: float) -> list[Tensor]:
    """Divide each row of ``factors`` by its own root mean square, averaged over steps; keep each matrix's norm.

    ``factors`` are matrices ``(..., m, n)``, ``moments`` ``(..., m, 1)`` in float32, which are updated:
    v ← beta · v + (1 - beta) · mean of the squares of a row. Returns float32. Rows that got larger updates than others
    over the last steps get smaller ones; the Frobenius norm of the whole stays what it was.

    This differs from the paper on purpose, so that ``adjust_lr`` means what it means in Muon. The paper's step has the
    norm 0.2 · lr · √(m · n), whatever the norm of the factor. Of a factor of full rank with singular values of 1, whose
    norm is √min(m, n), ``match_rms_adamw`` makes the same step; what Newton-Schulz leaves of them to differ from 1 is
    kept here, and removed there.
    """
    wide = [factor.float() for factor in factors]
    squares = [factor.square().mean(-1, keepdim=True) for factor in wide]
    torch._foreach_lerp_(moments, squares, 1 - beta)
    scaled = [factor / (moment.sqrt() + EPS) for factor, moment in zip(wide, moments, strict=True)]
    return [new * (_norm(old) / _norm(new).clamp(min=EPS)) for new, old in zip(scaled, wide, strict=True)]


def _norm(matrix: Tensor) -> Tensor:
    return torch.linalg.vector_norm(matrix, dim=(-2, -1), keepdim=True)
