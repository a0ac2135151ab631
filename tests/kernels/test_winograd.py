"""Winograd's method and the definition of a convolution give the same, as nearly as can be said of rounded numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from airbench.kernels import kernels, winograd
from airbench.kernels.winograd import TILES, best_tile, products
from airbench.net.layers import Conv3x3

POINTS = {2: (0.0, 1.0, -1.0), 3: (0.4, -0.4, 1.3, -1.3), 4: (0.0, 0.7, -0.7, 1.5, -1.5)}
"""Those of the kernels (``toom_cook.h``), infinity apart."""

USUAL = {3: (0.0, 1.0, -1.0, 2.0), 4: (0.0, 1.0, -1.0, 2.0, -2.0)}
"""Those of Lavin and Gray (2016), section 4."""

EPSILON = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
"""The largest relative error of one rounding."""


def usable(dtype: torch.dtype) -> bool:
    return winograd.can_convolve(images((1, 8, 4, 4)).to(dtype), 8)


def images(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


fast = pytest.mark.skipif(not usable(torch.float32), reason="no kernels for this processor, or none were built")


def exact(x: Tensor, weight: Tensor, dy: Tensor) -> list[Tensor]:
    """Output and both gradients in float64."""
    x, weight = x.double().requires_grad_(), weight.double().requires_grad_()
    y = F.conv2d(x, weight, padding=1)
    return [y.detach(), *torch.autograd.grad(y, (x, weight), dy.double())]


def ours(x: Tensor, weight: Tensor, dy: Tensor, tile: int) -> list[Tensor]:
    return [
        winograd.convolve(x, weight, tile),
        winograd.input_gradient(dy, weight, tile),
        winograd.weight_gradient(x, dy, tile),
    ]


def relative_error(value: Tensor, reference: Tensor) -> float:
    return ((value.double() - reference).norm() / reference.norm()).item()


def case(n: int, inputs: int, outputs: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images, weights, and a gradient of the output, all of which bfloat16 holds exactly."""
    weight = torch.randn(outputs, inputs, 3, 3, generator=torch.Generator().manual_seed(seed)) / 16
    values = images((n, inputs, height, width), seed), weight, images((n, outputs, height, width), seed + 1)
    x, weight, dy = (value.bfloat16().float() for value in values)
    return x, weight, dy


def toom_cook(tile: int, points: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (m, n), G (n, 3) and Bᵀ (n, n) with n = m + 2, in float64, from polynomials (Lavin and Gray 2016, section 4).

    Row i of Bᵀ has the coefficients of ∏ (x - p) over the points but the i-th, the last one those of all of them.
    """
    n = tile + 2
    bt, g, at = np.zeros((n, n)), np.zeros((n, 3)), np.zeros((tile, n))
    for i, point in enumerate(points):
        others = [p for j, p in enumerate(points) if j != i]
        bt[i, : n - 1] = np.poly(others)[::-1]
        g[i] = point ** np.arange(3) / np.prod([point - p for p in others])
        at[:, i] = point ** np.arange(tile)
    bt[-1] = np.poly(points)[::-1]
    g[-1, -1] = at[-1, -1] = 1
    return at, g, bt


def slow_twin(
    x: Tensor, weight: Tensor, tile: int, points: tuple[float, ...], rounded: Callable[[Tensor], Tensor]
) -> Tensor:
    """``conv2d(x, weight, padding=1)`` tile by tile in float64, but for what is multiplied."""
    at, g, bt = (torch.from_numpy(matrix) for matrix in toom_cook(tile, points))
    n, _, height, width = x.shape
    rows, columns = -(-height // tile), -(-width // tile)
    beyond = (1, 1 + columns * tile - width, 1, 1 + rows * tile - height)
    tiles = F.pad(x.double(), beyond).unfold(2, tile + 2, tile).unfold(3, tile + 2, tile)  # (N, C, rows, columns, n, n)
    values = rounded(bt @ tiles @ bt.T)
    filters = rounded(g @ weight.double() @ g.T)
    pixels = at @ torch.einsum("ncyxij,kcij->nkyxij", values, filters) @ at.T
    y = pixels.permute(0, 1, 2, 4, 3, 5).reshape(n, len(weight), rows * tile, columns * tile)
    return y[:, :, :height, :width]


@pytest.mark.parametrize("tile", TILES)
def test_the_slow_twin_is_the_convolution(tile: int) -> None:
    x, weight, dy = case(2, 8, 8, 7, 9)
    y, *_ = exact(x, weight, dy)
    torch.testing.assert_close(slow_twin(x, weight, tile, POINTS[tile], lambda value: value), y)


@fast
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("tile", TILES)
def test_float32_agrees_with_float64(tile: int) -> None:
    if not usable(torch.float32):
        pytest.skip("no kernels for this kind of processor")
    for shape in ((3, 24, 40, 31, 31), (5, 64, 72, 7, 9), (2, 8, 8, 1, 1), (40, 16, 32, 3, 3)):
        x, weight, dy = case(*shape)
        for value, reference in zip(ours(x, weight, dy, tile), exact(x, weight, dy), strict=True):
            assert value.shape == reference.shape
            # Sums of up to 9·64 products, in float32, of values that lost a few bits to cancellation.
            assert relative_error(value, reference) < 20 * EPSILON[torch.float32]


@pytest.mark.skipif(not usable(torch.bfloat16), reason="no kernels for this processor, or none were built")
@pytest.mark.parametrize("tile", TILES)
def test_bfloat16_is_as_near_to_float64_as_rounding_allows(tile: int) -> None:
    x, weight, dy = case(8, 64, 64, 15, 15)
    limit = {2: 0.0048, 3: 0.0084, 4: 0.0132}[tile]  # the docstring's errors, and a fifth
    for value, reference in zip(ours(x.bfloat16(), weight, dy.bfloat16(), tile), exact(x, weight, dy), strict=True):
        assert relative_error(value, reference) < limit
    # What the kernels do, the slow twin does in float64 but for what is multiplied, and for the output's own rounding.
    expected = slow_twin(x, weight, tile, POINTS[tile], lambda value: value.bfloat16().double()).bfloat16()
    y = winograd.convolve(x.bfloat16(), weight, tile)
    assert relative_error(y, expected.double()) < EPSILON[torch.bfloat16] / 2  # few of the roundings differ


def test_the_points_halve_the_error_of_the_usual_ones() -> None:
    x, weight, dy = case(8, 32, 16, 12, 12)
    y, *_ = exact(x, weight, dy)
    for tile, usual in USUAL.items():
        errors = [
            relative_error(slow_twin(x, weight, tile, points, lambda value: value.bfloat16().double()), y)
            for points in (POINTS[tile], usual)
        ]
        assert errors[0] < 0.55 * errors[1]


@fast
@settings(deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 8), st.integers(1, 8), st.integers(1, 20), st.integers(1, 20),
    st.sampled_from(TILES), st.sampled_from([dtype for dtype in EPSILON if usable(dtype)]), st.integers(0, 99),
)  # fmt: skip
def test_any_shape_agrees_with_float64(
    n: int, inputs: int, outputs: int, height: int, width: int, tile: int, dtype: torch.dtype, seed: int
) -> None:
    x, weight, dy = case(n, 8 * inputs, 8 * outputs, height, width, seed)
    limit = 1e-5 if dtype == torch.float32 else 0.06  # of 8 numbers the error is at times thrice the usual one
    found = ours(x.to(dtype), weight, dy.to(dtype), tile)
    for value, reference in zip(found, exact(x, weight, dy), strict=True):
        assert relative_error(value, reference) < limit


@fast
@pytest.mark.parametrize("tile", TILES)
def test_no_pixel_beyond_the_images_is_read(tile: int) -> None:
    x, weight, dy = case(3, 8, 8, 5, 7)
    images_with_neighbours = torch.full((5, 8, 5, 7), float("nan")).contiguous(memory_format=torch.channels_last)
    gradients_with_neighbours = images_with_neighbours.clone(memory_format=torch.preserve_format)
    images_with_neighbours[1:4], gradients_with_neighbours[1:4] = x, dy
    inner = images_with_neighbours[1:4], weight, gradients_with_neighbours[1:4]
    for value, expected in zip(ours(*inner, tile), ours(x, weight, dy, tile), strict=True):
        assert torch.equal(value, expected)


@fast
@pytest.mark.parametrize("tile", TILES)
def test_nothing_is_written_beyond_results_and_scratch(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, dy = case(3, 8, 40, 5, 7)
    guards: list[Tensor] = []

    def guarded(real: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def empty(*arguments: Any, **options: Any) -> Tensor:
            result = real(*arguments, **options)
            memory = torch.full((result.numel() + 4096,), 7, dtype=result.dtype)
            guards.append(memory)
            return memory.as_strided(result.shape, result.stride(), 2048)

        return empty

    monkeypatch.setattr("torch.empty", guarded(torch.empty))
    ours(x, weight, dy, tile)
    assert len(guards) >= 3
    for memory in guards:
        assert (memory[:2048] == 7).all()
        assert (memory[-2048:] == 7).all()


@fast
@pytest.mark.parametrize("tile", TILES)
def test_nan_is_never_lost(tile: int) -> None:
    x, weight, dy = case(2, 8, 8, 6, 6)
    x[1, 3, 2, 2] = float("nan")
    for value, reference in zip(ours(x, weight, dy, tile), exact(x, weight, dy), strict=True):
        assert value[reference.isnan()].isnan().all()
    assert not winograd.convolve(x, weight, tile)[0].isnan().any()  # another image


@fast
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_every_time_and_output_for_any_threads(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not usable(dtype):
        pytest.skip("no kernels for this type")
    x, weight, dy = case(7, 16, 40, 9, 9)
    first, second = (ours(x.to(dtype), weight, dy.to(dtype), 4) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    monkeypatch.setattr("torch.get_num_threads", lambda: 5)
    y, dx, dw = ours(x.to(dtype), weight, dy.to(dtype), 4)
    assert torch.equal(y, first[0])
    assert torch.equal(dx, first[1])
    torch.testing.assert_close(dw, first[2], atol=1e-3, rtol=1e-4)  # sums over threads are in another order


@fast
def test_threads_without_a_tile_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, dy = case(1, 8, 8, 3, 3)
    monkeypatch.setattr("torch.get_num_threads", lambda: 7)
    for value, reference in zip(ours(x, weight, dy, 4), exact(x, weight, dy), strict=True):
        assert relative_error(value, reference) < 1e-5


def test_products_by_hand() -> None:
    assert products(4, 4, 4) == 36  # one tile, where the definition takes 9 · 16 = 144
    assert products(31, 31, 4) == 64 * 36
    assert products(15, 15, 3) == 25 * 25


def test_of_tiles_as_cheap_the_smallest_is_taken() -> None:
    assert best_tile(31, 31, 4) == 4
    assert best_tile(15, 15, 4) == 3  # 625 products, and 576 with tiles of 4
    assert best_tile(7, 7, 4) == 4
    assert best_tile(3, 3, 4) == 3
    assert best_tile(7, 7, 2) == 2
    assert best_tile(1, 1, 4) == 0  # 16 products, where the definition takes 9
    assert best_tile(7, 7, 0) == 0


@fast
@pytest.mark.parametrize("tile", [0, 2, 3, 4])
def test_the_layer_uses_tiles_up_to_the_largest_allowed(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda x, w, m: used.append(m) or convolve(x, w, m))
    conv = Conv3x3(8, 16, winograd=tile)  # type: ignore[arg-type]
    conv(images((2, 8, 7, 7)))
    assert used == ([best_tile(7, 7, tile)] if tile else [])


@fast
def test_with_amx_bfloat16_is_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    library = kernels()
    for amx, tile in ((1, 0), (0, 4)):
        monkeypatch.setattr(library, "airbench_has_amx", lambda amx=amx: amx)
        assert winograd.default_tile(torch.bfloat16, 24, 64) == tile
        assert winograd.default_tile(torch.float32, 24, 64) == 4


@fast
def test_few_channels_are_left_to_pytorch_unless_told_otherwise() -> None:
    x = images((2, 16, 7, 7))
    assert Conv3x3(16, 24).tile(x) == 0
    assert Conv3x3(16, 32).tile(x) == 4
    assert Conv3x3(16, 24, winograd=2).tile(x) == 2


def test_what_the_kernels_do_not_know_goes_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    contiguous, odd = images((2, 8, 6, 6)).contiguous(), images((2, 12, 6, 6))
    assert not winograd.can_convolve(contiguous, 8)
    assert not winograd.can_convolve(odd, 8)
    assert not winograd.can_convolve(images((2, 8, 6, 6)), 12)
    assert not winograd.can_convolve(images((2, 8, 6, 6)).double(), 8)
    conv = Conv3x3(12, 8)
    torch.nn.init.normal_(conv.weight)
    assert torch.equal(conv(odd), F.conv2d(odd, conv.weight, padding=1))
    monkeypatch.setattr("airbench.kernels.kernels", lambda: None)
    assert not winograd.can_convolve(images((2, 8, 6, 6)), 8)
