"""Orthogonalising a convolution as a map on images, against the dense matrix of that map and its SVD."""

from functools import partial
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from airbench.optim.muon import Muon
from airbench.optim.operator import operator_kernels, operator_matrices
from airbench.optim.orthogonalize import newton_schulz, svd
from airbench.optim.orthogonalize.coefficients import CLASSICAL_QUINTIC


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense(kernels: Tensor, side: int) -> Tensor:
    """The matrix ``(out · side², in · side²)`` of the convolution on periodic images, column by column."""
    outputs, inputs, height, width = kernels.shape
    matrix = torch.zeros(outputs, side, side, inputs, side, side, dtype=kernels.dtype)
    for y in range(side):
        for x in range(side):
            for i in range(height):
                for j in range(width):
                    row, column = (y + i - height // 2) % side, (x + j - width // 2) % side
                    matrix[:, row, column, :, y, x] += kernels[:, :, i, j]
    return matrix.reshape(outputs * side**2, inputs * side**2)


def polar(matrix: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vh


SHAPES = ((2, 3, 3, 3), (3, 2, 3, 3), (2, 2, 1, 3), (2, 2, 2, 2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [3, 4, 5])
def test_singular_values_are_those_of_the_dense_matrix(shape: tuple[int, ...], side: int) -> None:
    """Each frequency stands for itself and its negative, in a real matrix that has each singular value twice."""
    kernels = random(*shape)
    of_frequencies = torch.linalg.svdvals(operator_matrices(kernels, side))
    expected = torch.linalg.svdvals(dense(kernels, side))
    half = sorted({min(f, tuple(-k % side for k in f)) for f in product(range(side), repeat=2)})
    alone = torch.tensor([f == tuple(-k % side for k in f) for f in half])
    values = torch.cat([of_frequencies[alone, ::2].flatten(), of_frequencies[~alone].flatten()])
    torch.testing.assert_close(values.sort().values, expected.sort().values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [3, 4, 5])
def test_before_truncation_the_operator_is_the_dense_matrixs_orthogonal_factor(
    shape: tuple[int, ...], side: int
) -> None:
    kernels = random(*shape)
    whole = operator_kernels(svd(operator_matrices(kernels, side)), (*shape[:2], side, side), side)
    torch.testing.assert_close(dense(whole, side), polar(dense(kernels, side)), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [4, 5])
def test_after_truncation_it_is_the_nearest_map_with_such_kernels(shape: tuple[int, ...], side: int) -> None:
    """Least squares over all kernels of the shape: what is left is perpendicular to every one of them."""
    kernels = random(*shape)
    found = operator_kernels(svd(operator_matrices(kernels, side)), shape, side)
    basis = torch.eye(kernels.numel(), dtype=torch.float64).reshape(-1, *shape)
    columns = torch.stack([dense(one, side).flatten() for one in basis], dim=1)
    best = torch.linalg.lstsq(columns, polar(dense(kernels, side)).flatten().unsqueeze(1)).solution
    torch.testing.assert_close(found.flatten(), best.flatten(), rtol=1e-8, atol=1e-8)


@settings(max_examples=30)
@given(
    st.tuples(*[st.integers(1, 4)] * 2), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 5),
    st.integers(0, 2**31),
)  # fmt: skip
def test_there_and_back_is_the_same(channels: tuple[int, int], positions: list[int], side: int, seed: int) -> None:
    """In one to three dimensions; a kernel larger than the images makes them larger."""
    kernels = random(*channels, *positions, seed=seed)
    back = operator_kernels(operator_matrices(kernels, side), tuple(kernels.shape), side)
    torch.testing.assert_close(back, kernels, rtol=1e-9, atol=1e-9)


def test_newton_schulz_converges_to_it() -> None:
    kernels = random(4, 3, 3, 3)
    matrices = operator_matrices(kernels, 6)
    iterated = newton_schulz(matrices, steps=30, coefficients=CLASSICAL_QUINTIC, dtype=torch.float64)
    torch.testing.assert_close(iterated, svd(matrices), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("adjust_lr", ["none", "spectral"])
def test_muon_steps_by_it(padded: bool, adjust_lr: str) -> None:
    """Filters by their operator, matrices as they are; the factor on lr is that of out × in."""
    side, shapes = 4, ((4, 2, 3, 3), (2, 4, 3, 3), (3, 5))
    params = [nn.Parameter(random(*shape, seed=1)) for shape in shapes]
    expected = [p.detach().clone() for p in params]
    muon = Muon(params, lr=0.1, momentum=0.0, nesterov=False, flatten="operator", operator_side=side,
                adjust_lr=adjust_lr, orthogonalize=svd, padded=padded)  # fmt: skip
    for step in range(2):
        for p, e in zip(params, expected, strict=True):
            p.grad = random(*p.shape, seed=10 + step)
            factor = 1.0 if adjust_lr == "none" else (p.shape[0] / p.shape[1]) ** 0.5
            if p.ndim == 2:
                e -= 0.1 * factor * polar(p.grad)
            else:
                frequencies = torch.fft.fft2(p.grad, (side, side)).permute(2, 3, 0, 1)
                u, _, vh = torch.linalg.svd(frequencies, full_matrices=False)
                e -= 0.1 * factor * torch.fft.ifft2((u @ vh).permute(2, 3, 0, 1)).real[..., :3, :3]
        muon.step()
    for p, e in zip(params, expected, strict=True):
        torch.testing.assert_close(p.detach(), e, rtol=1e-7, atol=1e-7)


def test_half_precision_takes_nearly_the_same_step() -> None:
    weights = []
    for dtype, computed in ((torch.bfloat16, torch.bfloat16), (torch.float64, torch.float64)):
        p = nn.Parameter(torch.zeros(8, 4, 3, 3, dtype=dtype))
        p.grad = random(8, 4, 3, 3).to(dtype)
        Muon([p], lr=1.0, flatten="operator", orthogonalize=partial(newton_schulz, dtype=computed)).step()
        weights.append(p.detach().double())
    assert (weights[0] - weights[1]).norm() < 0.03 * weights[1].norm()
