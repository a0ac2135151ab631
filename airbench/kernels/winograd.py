"""3×3 convolutions on a CPU by Winograd's method: up to 4 times fewer multiplications than direct convolution.

F(m×m, 3×3) computes m×m output pixels with (m + 2)² multiplications instead of 9·m² (Winograd 1980; Lavin and Gray
2016, arXiv:1509.09308). The compiled kernels (``kernels/winograd.cpp``) transform, multiply and transform back without
leaving the cache. The reference implementation is PyTorch's convolution.

In float32 the result is within a few roundings. In bfloat16 the transformed tiles are rounded before they are
multiplied: the relative error is 0.4, 0.7 and 1.1 per cent for m = 2, 3 and 4, where rounding the exact result gives
0.17 (``tests/kernels/test_winograd.py``).
"""

import torch
from torch import Tensor

from airbench.kernels import call, empty_images, kernels, runs_fast

TILES = (2, 3, 4)
"""Tile sizes m for which there are kernels."""

MIN_CHANNELS = 512
"""Minimum of input channels × output channels for Winograd's method to be faster (runs/records/performance.md)."""


def products(height: int, width: int, tile: int) -> int:
    """Count the multiplications of F(tile×tile, 3×3) on an image of one channel. Direct convolution takes 9 a pixel."""
    return -(-height // tile) * -(-width // tile) * (tile + 2) ** 2


def best_tile(height: int, width: int, largest: int) -> int:
    """Return the tile size for images of this size: the smallest within 10% of the fewest multiplications.

    The smallest tile has the smallest error. Returns 0 if no tile up to ``largest`` saves multiplications.
    """
    cost = {tile: products(height, width, tile) for tile in TILES if tile <= largest}
    fewest = min(cost.values(), default=9 * height * width)
    if fewest >= 9 * height * width:
        return 0
    return min(tile for tile in cost if cost[tile] <= 1.1 * fewest)


def default_tile(dtype: torch.dtype, in_channels: int, out_channels: int) -> int:
    """Return the default maximum tile size; 0 if PyTorch is as fast.

    It is with AMX, and with few channels: the transforms are linear in the number of channels, the products quadratic.
    """
    library = kernels()
    amx = library is not None and dtype == torch.bfloat16 and library.airbench_has_amx()
    return 0 if library is None or amx or in_channels * out_channels < MIN_CHANNELS else max(TILES)


def can_convolve(x: Tensor, out_channels: int) -> bool:
    """Return whether there are kernels for images ``x`` ``(N, in, H, W)`` and ``out_channels``."""
    return runs_fast(x) and x.shape[1] % 8 == 0 and out_channels % 8 == 0 and _bytes(x, out_channels, 2, False) > 0


def convolve(x: Tensor, weight: Tensor, tile: int) -> Tensor:
    """Compute ``conv2d(x, weight, padding=1)``, channels-last.

    ``(N, in, H, W)``, ``(out, in, 3, 3)`` → ``(N, out, H, W)``. ``weight`` may have any dtype; ``x``
    must satisfy :func:`can_convolve`.
    """
    n, inputs, height, width = x.shape
    outputs = len(weight)
    filters = weight.permute(2, 3, 1, 0).float().contiguous()
    y = empty_images(torch.Size((n, outputs, height, width)), x.dtype)
    scratch = _scratch(x, outputs, tile, gradient=False)
    call("winograd", x, tile, x, filters, y, n, height, width, inputs, outputs, scratch)
    return y


def input_gradient(dy: Tensor, weight: Tensor, tile: int) -> Tensor:
    """Compute the input gradient from the output gradient ``dy`` ``(N, out, H, W)``, channels-last."""
    return convolve(dy, weight.flip(2, 3).transpose(0, 1), tile)


def weight_gradient(x: Tensor, dy: Tensor, tile: int) -> Tensor:
    """Compute the float32 weight gradient ``(out, in, 3, 3)`` from images ``(N, in, H, W)`` and output gradient."""
    n, inputs, height, width = x.shape
    gradient = torch.empty(3, 3, inputs, dy.shape[1], dtype=torch.float32, device="cpu")
    scratch = _scratch(x, dy.shape[1], tile, gradient=True)
    call("winograd_gradient", x, tile, x, dy, gradient, n, height, width, inputs, dy.shape[1], scratch)
    return gradient.permute(3, 2, 0, 1)


def _bytes(x: Tensor, out_channels: int, tile: int, gradient: bool) -> int:
    return call("winograd_bytes", x, tile, int(gradient), x.shape[1], out_channels)


def _scratch(x: Tensor, out_channels: int, tile: int, gradient: bool) -> Tensor:
    size = _bytes(x, out_channels, tile, gradient)
    assert size > 0, f"there are no kernels for tiles of {tile}, or for {x.dtype}"
    return torch.empty(size, dtype=torch.uint8, device="cpu")
