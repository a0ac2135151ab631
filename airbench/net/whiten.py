"""The whitening convolution: filters that decorrelate the pixels of small patches."""

import torch
from torch import Tensor

from airbench.device import send


def patch_covariance(images: Tensor, kernel: int) -> Tensor:
    """Compute second moments of ``kernel``×``kernel`` patches of ``(N, C, H, W)``: ``(C·k², C·k²)``, float64, CPU.

    Not centred, since the images are already normalised. C = XᵀX / n over the n patches, flattened as conv weights are.
    """
    size = images.shape[1] * kernel * kernel
    total = torch.zeros(size, size, device=images.device)
    patches = 0
    for chunk in images.split(1000):  # bounds the memory of the unfolded patches
        rows = chunk.unfold(2, kernel, 1).unfold(3, kernel, 1)  # (n, C, H', W', k, k)
        x = rows.permute(0, 2, 3, 1, 4, 5).reshape(-1, size).float()
        total += x.T @ x
        patches += len(x)
    return total.cpu().double() / patches


def whitening_filters(images: Tensor, kernel: int, eps: float) -> Tensor:
    """Compute filters ``(2·C·k², C, k, k)`` that whiten the patches of the normalised ``images`` ``(N, C, H, W)``.

    With C = V Λ Vᵀ they are vᵢ / √(λᵢ + eps) and their negatives, so that the following activation loses nothing
    (Page 2019; Jordan 2024, section 3.1). Float32, on the device of the images. The host waits for the device once,
    for the covariance, and computes its eigenvectors in float64.
    """
    eigenvalues, eigenvectors = torch.linalg.eigh(patch_covariance(images, kernel))
    # Rounding can leave the smallest eigenvalue of a singular covariance just below zero.
    filters = eigenvectors.T / (eigenvalues[:, None].clamp(min=0) + eps).sqrt()
    filters = filters.reshape(-1, images.shape[1], kernel, kernel)
    return send(torch.cat([filters, -filters]).float(), images.device)
