"""Approximate orthogonal factors of matrices, which turn momentum into a Muon update.

Every method takes matrices ``(..., m, n)`` and returns factors of the same shape. The orthogonal factor of
U S Vᵀ is U Vᵀ; directions with singular value zero belong to neither, so the factor of a zero matrix is zero.
"""

from airbench.optim.orthogonalize.batching import Orthogonalizer, orthogonalize_all
from airbench.optim.orthogonalize.build import build_orthogonalizer, ignores_scale, pads
from airbench.optim.orthogonalize.inverse_sqrt import inverse_sqrt
from airbench.optim.orthogonalize.newton_schulz import newton_schulz
from airbench.optim.orthogonalize.svd import svd

__all__ = [
    "Orthogonalizer", "build_orthogonalizer", "ignores_scale", "inverse_sqrt", "newton_schulz", "orthogonalize_all",
    "pads", "svd",
]  # fmt: skip
