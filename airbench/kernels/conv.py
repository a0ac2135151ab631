"""3×3 convolution: on a CPU by Winograd's method or, for small images, with the weight gradient as one matmul."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from airbench.kernels import on_cpu, winograd

MAX_PIXELS = 9
"""Maximum pixels of an image for which the weight gradient is faster as one matmul: at 3×3 pixels it is 1.3 to 3.6
times as fast as PyTorch's, at 7×7 no faster (runs/records/performance.md)."""

Tile = Literal["auto", 0, 2, 3, 4]
"""See ``engine.winograd`` in the recipe's schema."""


def conv3x3(x: Tensor, weight: Tensor, *, fused: bool, largest: Tile) -> Tensor:
    """Return ``conv2d(x, weight, padding=1)``, computed in the fastest way that this machine has for ``x``.

    ``(N, in, H, W)``, ``(out, in, 3, 3)`` → ``(N, out, H, W)``. See ``engine.fused`` and ``engine.winograd``.
    """
    tile = winograd_tile(x, weight, largest) if fused else 0
    if tile:
        y: Tensor = _Winograd.apply(x, weight, tile)
        return y
    if fused and x.ndim == 4 and x.shape[2] * x.shape[3] <= MAX_PIXELS and on_cpu(x):
        y = _SmallImages.apply(x, weight)
        return y
    return F.conv2d(x, weight, padding=1)


def winograd_tile(x: Tensor, weight: Tensor, largest: Tile) -> int:
    """Return the side of the tiles in which ``x`` is convolved by Winograd's method; 0 if it is not."""
    out_channels, in_channels = weight.shape[:2]
    alike = x.dtype == weight.dtype and x.device == weight.device and x.ndim == 4 and x.shape[1] == in_channels
    if not (alike and winograd.can_convolve(x, out_channels)):
        return 0  # PyTorch reports what does not fit
    default = winograd.default_tile(x.dtype, in_channels, out_channels)
    return winograd.best_tile(x.shape[2], x.shape[3], default if largest == "auto" else largest)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, tile: int) -> Tensor:
        ctx.tile = tile
        ctx.save_for_backward(x, weight)
        return winograd.convolve(x, weight, tile)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx = winograd.input_gradient(dy, weight, ctx.tile) if ctx.needs_input_grad[0] else None
        dw = None
        if ctx.needs_input_grad[1]:
            dw = winograd.weight_gradient(x, dy, ctx.tile).to(weight.dtype, memory_format=torch.channels_last)
        return dx, dw, None


class _SmallImages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        dx = None
        if ctx.needs_input_grad[0]:
            one, wanted = [1, 1], (True, False, False)
            dx, *_ = torch.ops.aten.convolution_backward(
                dy, x, weight, None, one, one, one, False, [0, 0], 1, wanted
            )  # fmt: skip
        return dx, weight_gradient(x, dy) if ctx.needs_input_grad[1] else None


def weight_gradient(x: Tensor, dy: Tensor) -> Tensor:
    """Compute the weight gradient ``(out, in, 3, 3)`` from images ``(N, in, H, W)`` and output gradient by one matmul.

    One of its factors is the matrix of all 3×3 neighbourhoods, nine times as large as the images.
    """
    n, channels, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    image, row, column, channel = padded.stride()
    near = padded.as_strided((n, height, width, 3, 3, channels), (image, row, column, row, column, channel))
    rows = dy.permute(0, 2, 3, 1).reshape(n * height * width, dy.shape[1]).t().contiguous()
    gradient = rows @ near.reshape(n * height * width, 9 * channels)
    return gradient.view(-1, 3, 3, channels).permute(0, 3, 1, 2)
