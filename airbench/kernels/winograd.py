"""3×3 convolutions on a CPU by Winograd's method: up to 4 times fewer products than the definition takes.

F(m×m, 3×3) makes m×m pixels of the output from (m + 2)² products instead of 9·m² (Winograd 1980; Lavin and Gray 2016,
arXiv:1509.09308). The compiled kernels (``kernels/winograd.cpp``) take sums of pixels, multiply, and take sums again,
without leaving the cache. The reference implementation is PyTorch's convolution.

In float32 the result is within a few roundings. In bfloat16 the sums are rounded before they are multiplied, which
leaves a relative error of 0.4, 0.7 and 1.1 per cent for m = 2, 3 and 4, where rounding the exact result leaves 0.17
(``tests/kernels/test_winograd.py``).
"""

import torch
from torch import Tensor

from airbench.kernels import call, empty_images, kernels, runs_fast

TILES = (2, 3, 4)
"""Sides m of a tile for which there are kernels."""

MIN_CHANNELS = 512
"""Channels of input times those of output, for Winograd's method to pay (runs/records/performance.md)."""


def products(height: int, width: int, tile: int) -> int:
    """Return the products that F(tile×tile, 3×3) takes for an image of one channel. By definition it is 9 a pixel."""
    return -(-height // tile) * -(-width // tile) * (tile + 2) ** 2


def best_tile(height: int, width: int, largest: int) -> int:
    """Return the tile for images of this size: the smallest of those within 10% of the fewest products.

    The smallest tile has the smallest error. 0 where no tile up to ``largest`` saves products.
    """
    cost = {tile: products(height, width, tile) for tile in TILES if tile <= largest}
    fewest = min(cost.values(), default=9 * height * width)
    if fewest >= 9 * height * width:
        return 0
    return min(tile for tile in cost if cost[tile] <= 1.1 * fewest)


def default_tile(dtype: torch.dtype, in_channels: int, out_channels: int) -> int:
    """Return the default of the largest tile; 0 where PyTorch is as fast.

    It is as fast with AMX, and with few channels: the time of the sums is linear in their number, that of the products
    quadratic.
    """
    library = kernels()
    amx = library is not None and dtype == torch.bfloat16 and library.airbench_has_amx()
    return 0 if library is None or amx or in_channels * out_channels < MIN_CHANNELS else max(TILES)


def can_convolve(x: Tensor, out_channels: int) -> bool:
    """Whether there are kernels for images ``x`` ``(N, in, H, W)`` and so many output channels."""
    return runs_fast(x) and x.shape[1] % 8 == 0 and out_channels % 8 == 0 and _bytes(x, out_channels, 2, False) > 0


def convolve(x: Tensor, weight: Tensor, tile: int) -> Tensor:
    """``conv2d(x, weight, padding=1)``: ``(N, in, H, W)``, ``(out, in, 3, 3)`` → ``(N, out, H, W)``, channels-last.

    ``weight`` may be of any type; ``x`` must be as :func:`can_convolve` says.
    """
    n, inputs, height, width = x.shape
    outputs = len(weight)
    filters = weight.permute(2, 3, 1, 0).float().contiguous()
    y = empty_images(torch.Size((n, outputs, height, width)), x.dtype)
    scratch = _scratch(x, outputs, tile, gradient=False)
    call("winograd", x, tile, x, filters, y, n, height, width, inputs, outputs, scratch)
    return y


def input_gradient(dy: Tensor, weight: Tensor, tile: int) -> Tensor:
    """Gradient of the images for that of the output ``(N, out, H, W)``, channels-last."""
    return convolve(dy, weight.flip(2, 3).transpose(0, 1), tile)


def weight_gradient(x: Tensor, dy: Tensor, tile: int) -> Tensor:
    """Gradient of the weights ``(out, in, 3, 3)`` for images ``(N, in, H, W)`` and that of the output, in float32."""
    n, inputs, height, width = x.shape
    gradient = torch.empty(3, 3, inputs, dy.shape[1])
    scratch = _scratch(x, dy.shape[1], tile, gradient=True)
    call("winograd_gradient", x, tile, x, dy, gradient, n, height, width, inputs, dy.shape[1], scratch)
    return gradient.permute(3, 2, 0, 1)


def _bytes(x: Tensor, out_channels: int, tile: int, gradient: bool) -> int:
    return call("winograd_bytes", x, tile, int(gradient), x.shape[1], out_channels)


def _scratch(x: Tensor, out_channels: int, tile: int, gradient: bool) -> Tensor:
    size = _bytes(x, out_channels, tile, gradient)
    assert size > 0, f"there are no kernels for tiles of {tile}, or for {x.dtype}"
    return torch.empty(size, dtype=torch.uint8)
