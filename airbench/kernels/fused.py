"""Max-pool, batch norm and activation in one: on a CPU, in two passes over memory instead of five.

The fast way is compiled (``kernels/fused.cpp``); its slow twin is PyTorch's own three operations. Nothing but pooled
pixels and where they came from is kept for the gradient: what lies between is computed anew.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from airbench.kernels import call, empty_images, runs_fast

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
}
"""By name, in the order of the kernels' numbers."""

_NUMBERS = {name: number for number, name in enumerate(ACTIVATIONS)}


class Activation(nn.Module):
    """An activation by name, of :data:`ACTIVATIONS`. Any shape → the same.

    With ``fused``, images ``(N, C, H, W)`` in channels-last on a CPU go the fast way.
    """

    def __init__(self, name: str, *, fused: bool = True):
        super().__init__()
        self.name, self.fused = name, fused

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.fused and runs_fast(x):
            return _Activate.apply(x, self.name)
        return ACTIVATIONS[self.name](x)


class NormActivation(nn.BatchNorm2d):
    """2×2 max-pool (with ``pool``) → batch norm → activation. ``(N, C, H, W)`` → the same, or halved and rounded down.

    Parameters, buffers, training and evaluation are those of BatchNorm2d. With ``fused``, a CPU goes the fast way,
    which rounds to the images' type once where PyTorch rounds after each operation.
    """

    def __init__(
        self, channels: int, eps: float, momentum: float, *, pool: bool, activation: str, fused: bool = True
    ):  # fmt: skip
        super().__init__(channels, eps, momentum)
        self.momentum: float = momentum
        self.pool, self.activation, self.fused = pool, activation, fused

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.fused and runs_fast(x) and self.weight.dtype == self._tracked()[0].dtype == torch.float32:
            n, _, height, width = _pooled(x.shape) if self.pool else x.shape
            if self.training and n * height * width > 1:
                y, mean, variance = _NormActivate.apply(x, self.weight, self.bias, self.eps, self.pool, self.activation)
                self._track(mean, variance, n * height * width)
                return y
            if not self.training and not torch.is_grad_enabled() and height * width > 0:
                mean, variance = self._tracked()
                scale = self.weight * (variance + self.eps).rsqrt()
                return _affine(x, mean, scale, self.bias, self.pool, self.activation)
        x = F.max_pool2d(x, 2) if self.pool else x
        return ACTIVATIONS[self.activation](super().forward(x))

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        running_mean, running_variance = self._tracked()
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        running_mean.lerp_(mean, self.momentum)
        running_variance.lerp_(variance * (count / (count - 1)), self.momentum)

    def _tracked(self) -> tuple[Tensor, Tensor]:
        assert self.running_mean is not None
        assert self.running_var is not None
        return self.running_mean, self.running_var


class _Activate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: str) -> Tensor:
        ctx.activation = activation
        ctx.save_for_backward(x)
        y, (zero, one) = torch.empty_like(x), _zero_and_one(x)
        call("apply", x, _NUMBERS[activation], False, x, y, *_flat_sizes(x), zero, one, zero)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx, (zero, one) = torch.empty_like(x), _zero_and_one(x)
        call(
            "input_gradient", x, _NUMBERS[ctx.activation], x, dy, None, dx, *_flat_sizes(x), zero, one, zero, zero, zero
        )  # fmt: skip
        return dx, None


def _flat_sizes(x: Tensor) -> tuple[int, int, int, int]:
    """Sizes for a kernel to which all channels are alike: some pixels at a time count as one, to fill its vectors."""
    pixels = x.numel() // x.shape[1]
    together = math.gcd(pixels, 16)
    return pixels // together, 1, 1, x.shape[1] * together


def _zero_and_one(x: Tensor) -> Tensor:
    """As mean, scale and bias they leave every channel as it is."""
    *_, channels = _flat_sizes(x)
    return torch.stack([torch.zeros(channels), torch.ones(channels)])


class _NormActivate(torch.autograd.Function):
    """Returns y, and the mean and the biased variance of what was normalised, by channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, pool: bool, activation: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        shape = x.shape
        which = None
        mean, variance = torch.empty(2, shape[1])
        pooled = empty_images(_pooled(shape), x.dtype) if pool else x
        if pool:
            which = empty_images(pooled.shape, torch.uint8)
        call("moments", x, x, pooled if pool else None, which, *_sizes(shape), mean, variance)
        rstd = (variance + eps).rsqrt()
        ctx.shape, ctx.activation = shape, activation
        ctx.save_for_backward(pooled, which, weight, bias, mean, rstd)
        ctx.mark_non_differentiable(mean, variance)
        return _affine(pooled, mean, weight * rstd, bias, pool=False, activation=activation), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, which, weight, bias, mean, rstd = ctx.saved_tensors
        n, channels, height, width = x.shape
        dy = dy.contiguous(memory_format=torch.channels_last)
        scale, bias = (weight * rstd).contiguous(), bias.float().contiguous()
        sums = torch.empty(2, channels, dtype=torch.float64)
        call(
            "gradient_sums", x, _NUMBERS[ctx.activation], x, dy, n, height * width, channels, mean, scale, bias, sums
        )  # fmt: skip
        average = (sums / (n * height * width)).float()
        dx = _input_gradient(
            x, dy, which, ctx.shape, mean, scale, bias, average[0].contiguous(), average[1] * rstd.square(),
            ctx.activation,
        )  # fmt: skip
        return dx, (sums[1] * rstd).to(weight.dtype), sums[0].to(bias.dtype), None, None, None


def _affine(x: Tensor, mean: Tensor, scale: Tensor, bias: Tensor, pool: bool, activation: str) -> Tensor:
    """activation((x - mean) · scale + bias), of the pooled x with ``pool``."""
    y = empty_images(_pooled(x.shape) if pool else x.shape, x.dtype)
    values = [t.float().contiguous() for t in (mean, scale, bias)]
    call("apply", x, _NUMBERS[activation], pool, x, y, *_sizes(x.shape), *values)
    return y


def _input_gradient(
    x: Tensor, dy: Tensor, which: Tensor | None, shape: torch.Size,
    mean: Tensor, scale: Tensor, bias: Tensor, c0: Tensor, c1: Tensor, activation: str,
) -> Tensor:  # fmt: skip
    dx = empty_images(shape, x.dtype)
    dy = dy.contiguous(memory_format=torch.channels_last)
    call(
        "input_gradient", x, _NUMBERS[activation], x, dy, which, dx, *_sizes(shape), mean, scale, bias, c0, c1
    )  # fmt: skip
    return dx


def _pooled(shape: torch.Size) -> torch.Size:
    n, channels, height, width = shape
    return torch.Size((n, channels, height // 2, width // 2))


def _sizes(shape: torch.Size) -> tuple[int, int, int, int]:
    n, channels, height, width = shape
    return n, height, width, channels
