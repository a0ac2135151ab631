"""Fused max-pool, batch norm and activation on a CPU: two passes over memory instead of five.

The kernels are in ``fused.cpp``; the reference implementation is PyTorch's own three operations. Only the pooled pixels
and their positions are saved for the backward pass, which recomputes the rest.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from airbench.kernels import call, empty_images

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
}
"""Activations by name, in the order of their numbers in the kernels."""

_HOST: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
"""What the kernels take, whatever PyTorch's defaults are."""

_NUMBERS = {name: number for number, name in enumerate(ACTIVATIONS)}


def activate(x: Tensor, activation: str) -> Tensor:
    """Apply an activation by name to images that the kernels take (see :func:`runs_fast`)."""
    y: Tensor = _Activate.apply(x, activation)
    return y


def norm_activate(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, pool: bool, activation: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Pool, normalise by batch statistics and activate images that the kernels take.

    Returns the result, and the mean and biased variance ``(C,)`` of the pooled images.
    """
    y, mean, variance = _NormActivate.apply(x, weight, bias, eps, pool, activation)
    return y, mean, variance


def affine_activate(x: Tensor, mean: Tensor, scale: Tensor, bias: Tensor, pool: bool, activation: str) -> Tensor:
    """Return activation((x - mean) · scale + bias), with ``pool`` of the pooled ``x``. Not differentiable."""
    y = empty_images(pooled_shape(x.shape) if pool else x.shape, x.dtype)
    values = [t.float().contiguous() for t in (mean, scale, bias)]
    call("apply", x, _NUMBERS[activation], pool, x, y, *_sizes(x.shape), *values)
    return y


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
    """Sizes for a kernel that treats all channels alike: several pixels count as one, to fill its vectors."""
    pixels = x.numel() // x.shape[1]
    together = math.gcd(pixels, 16)
    return pixels // together, 1, 1, x.shape[1] * together


def _zero_and_one(x: Tensor) -> Tensor:
    """Mean, scale and bias that leave every channel unchanged."""
    *_, channels = _flat_sizes(x)
    return torch.stack([torch.zeros(channels, **_HOST), torch.ones(channels, **_HOST)])


class _NormActivate(torch.autograd.Function):
    """Returns y, and the mean and biased variance of each normalised channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, pool: bool, activation: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        shape = x.shape
        which = None
        mean, variance = torch.empty(2, shape[1], **_HOST)
        pooled = empty_images(pooled_shape(shape), x.dtype) if pool else x
        if pool:
            which = empty_images(pooled.shape, torch.uint8)
        call("moments", x, x, pooled if pool else None, which, *_sizes(shape), mean, variance)
        rstd = (variance + eps).rsqrt()
        ctx.shape, ctx.activation = shape, activation
        ctx.save_for_backward(pooled, which, weight, bias, mean, rstd)
        ctx.mark_non_differentiable(mean, variance)
        return affine_activate(pooled, mean, weight * rstd, bias, pool=False, activation=activation), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, which, weight, bias, mean, rstd = ctx.saved_tensors
        n, channels, height, width = x.shape
        dy = dy.contiguous(memory_format=torch.channels_last)
        scale, bias = (weight * rstd).contiguous(), bias.float().contiguous()
        sums = torch.empty(2, channels, dtype=torch.float64, device="cpu")
        call(
            "gradient_sums", x, _NUMBERS[ctx.activation], x, dy, n, height * width, channels, mean, scale, bias, sums
        )  # fmt: skip
        average = (sums / (n * height * width)).float()
        dx = _input_gradient(
            x, dy, which, ctx.shape, mean, scale, bias, average[0].contiguous(), average[1] * rstd.square(),
            ctx.activation,
        )  # fmt: skip
        return dx, (sums[1] * rstd).to(weight.dtype), sums[0].to(bias.dtype), None, None, None


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


def pooled_shape(shape: torch.Size) -> torch.Size:
    """Return the shape of images ``(N, C, H, W)`` after a 2×2 max-pool."""
    n, channels, height, width = shape
    return torch.Size((n, channels, height // 2, width // 2))


def _sizes(shape: torch.Size) -> tuple[int, int, int, int]:
    n, channels, height, width = shape
    return n, height, width, channels
