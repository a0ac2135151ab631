"""What orthogonalisation did to the last momenta of a training."""

import torch
from torch import Tensor

from airbench.optim.muon import Muon
from airbench.optim.routing import Optimizers


def momentum_spectra(optimizers: Optimizers) -> dict[str, dict[str, list[float]]]:
    """Singular values of the momentum buffer of each matrix that Muon trained, and of its orthogonalisation.

    By parameter name: ``before`` (divided by the largest) and ``after``, to five digits. Empty where Muon trained
    nothing; without what is not finite.
    """
    names: dict[Tensor, str] = {}
    for group, r, _ in optimizers.scheduled:
        names.update(zip(group["params"], r.names, strict=True))
    found = {}
    for muon in optimizers.optimizers:
        if isinstance(muon, Muon):
            for p, matrix in muon.momentum_matrices():
                if not matrix.isfinite().all():
                    continue
                before = torch.linalg.svdvals(matrix.float()).flatten()
                after = torch.linalg.svdvals(muon.orthogonalize(matrix).float()).flatten()
                share = before / before.max().clamp(min=1e-30)
                found[names[p]] = {"before": _rounded(share), "after": _rounded(after)}
    return found


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]
