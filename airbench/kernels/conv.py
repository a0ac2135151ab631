"""3×3 convolution: on a CPU by Winograd's method or, for small images, with its weight gradient as one product."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from airbench.kernels import winograd
from airbench.kernels import on_cpu

MOST_PIXELS = 9
"""Of an image, for one product to be faster than PyTorch: at 3×3 pixels it is 1.3 to 3.6 times as fast, at 7×7 no
faster (runs/records/performance.md)."""

Tile = Literal["auto", 0, 2, 3, 4]
"""See ``net.winograd`` in the recipe's schema."""


class Conv3x3(nn.Conv2d):
    """3×3 convolution with padding 1 and no bias: ``(N, in, H, W)`` → ``(N, out, H, W)``."""

    def __init__(self, in_channels: int, out_channels: int, *, fused: bool = True, winograd: Tile = "auto"):
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.fused, self.winograd = fused, winograd

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        tile = self.tile(x)
        if tile:
            return _Winograd.apply(x, self.weight, tile)
        if self.fused and x.ndim == 4 and x.shape[2] * x.shape[3] <= MOST_PIXELS and on_cpu(x):
            return _SmallImages.apply(x, self.weight)
        return super().forward(x)

    def tile(self, x: Tensor) -> int:
        """Side of the tiles in which ``x`` is convolved by Winograd's method; 0 if it is not."""
        alike = x.dtype == self.weight.dtype and x.device == self.weight.device and x.shape[1] == self.in_channels
        if not (self.fused and winograd.can_convolve(x, self.out_channels) and alike):
            return 0  # what does not fit is for PyTorch to complain of
        usual = winograd.usual_tile(x.dtype, self.in_channels, self.out_channels)
        largest = usual if self.winograd == "auto" else self.winograd
        return winograd.best_tile(x.shape[2], x.shape[3], largest)


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
    """Gradient of the weights ``(out, in, 3, 3)`` for images ``(N, in, H, W)`` and that of the output, by one product.

    Nine times as large as the images is the matrix of all 3×3 neighbourhoods.
    """
    n, channels, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    image, row, column, channel = padded.stride()
    near = padded.as_strided((n, height, width, 3, 3, channels), (image, row, column, row, column, channel))
    rows = dy.permute(0, 2, 3, 1).reshape(n * height * width, dy.shape[1]).t().contiguous()
    gradient = rows @ near.reshape(n * height * width, 9 * channels)
    return gradient.view(-1, 3, 3, channels).permute(0, 3, 1, 2)
