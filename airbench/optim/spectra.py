"""Singular values of the momentum, before and after orthogonalisation."""

import torch
from torch import Tensor

from airbench.optim.muon import Muon
from airbench.optim.optimizers import Optimizers


def momentum_spectra(optimizers: Optimizers) -> dict[str, dict[str, list[float]]]:
    """Return the singular values of the momentum buffer of each matrix that Muon trained, and of its orthogonalisation.

    By parameter name: ``before`` (divided by the largest) and ``after``, to five digits. Empty if Muon trained
    nothing. Matrices with a non-finite value, before or after, are left out.
    """
    found = {}
    for t in optimizers.trained:
        if not isinstance(t.optimizer, Muon):
            continue
        names = dict(zip(t.stepped.params, t.stepped.param_names, strict=True))
        for p, matrix in t.optimizer.momentum_matrices():
            factor = t.optimizer.orthogonalize(matrix)
            if not (matrix.isfinite().all() and factor.isfinite().all()):
                continue
            before = torch.linalg.svdvals(matrix.float()).flatten()
            after = torch.linalg.svdvals(factor.float()).flatten()
            share = before / before.max().clamp(min=1e-30)
            found[names[p]] = {"before": _rounded(share), "after": _rounded(after)}
    return found


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]
