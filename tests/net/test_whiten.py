"""Whitened patches have identity covariance, up to eps."""

import pytest
import torch
import torch.nn.functional as F

from airbench.net.whiten import patch_covariance, whitening_filters


def smooth_images(n: int = 64, channels: int = 3, side: int = 16) -> torch.Tensor:
    """Noise whose neighbouring pixels are correlated, as in photographs."""
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(n, channels, side + 4, side + 4, generator=g)
    return F.avg_pool2d(noise, 3, 1)[..., :side, :side] + 0.1 * noise[..., :side, :side] + 0.2


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_patch_covariance_equals_a_loop_over_patches(kernel: int) -> None:
    images = smooth_images(5, 3, 6)
    total, count = torch.zeros(3 * kernel**2, 3 * kernel**2, dtype=torch.float64), 0
    for image in images.double():
        for y in range(6 - kernel + 1):
            for x in range(6 - kernel + 1):
                patch = image[:, y : y + kernel, x : x + kernel].reshape(-1)
                total += torch.outer(patch, patch)
                count += 1
    assert torch.allclose(patch_covariance(images, kernel), total / count, atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_whitened_patches_have_identity_covariance(kernel: int) -> None:
    images = smooth_images()
    filters = whitening_filters(images, kernel, eps=1e-9)
    half = 3 * kernel**2
    assert filters.shape == (2 * half, 3, kernel, kernel)
    responses = F.conv2d(images, filters)[:, :half].permute(1, 0, 2, 3).reshape(half, -1).double()
    covariance = responses @ responses.T / responses.shape[1]
    assert torch.allclose(covariance, torch.eye(half, dtype=torch.float64), atol=2e-3)


def test_eps_shrinks_each_direction_as_it_should() -> None:
    images, eps = smooth_images(), 0.05
    filters = whitening_filters(images, 2, eps)[:12].reshape(12, -1).double()
    eigenvalues = torch.linalg.eigvalsh(patch_covariance(images, 2))
    responses = filters @ patch_covariance(images, 2) @ filters.T
    assert torch.allclose(responses.diagonal(), eigenvalues / (eigenvalues + eps), atol=1e-5)


def test_second_half_is_the_first_negated() -> None:
    filters = whitening_filters(smooth_images(), 2, 5e-4)
    assert torch.equal(filters[:12], -filters[12:])


def test_constant_images_give_finite_filters() -> None:
    assert whitening_filters(torch.zeros(4, 3, 8, 8), 2, 5e-4).isfinite().all()
