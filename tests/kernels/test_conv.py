"""The convolution's own weight gradient is the true one."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from airbench.kernels.conv import MAX_PIXELS, weight_gradient
from airbench.kernels.winograd import can_convolve
from airbench.net.layers import Conv3x3


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_weight_gradient_is_pytorchs(n: int, inputs: int, outputs: int, height: int, width: int) -> None:
    x, dy = torch.randn(n, inputs, height, width).double(), torch.randn(n, outputs, height, width).double()
    weight = torch.zeros(outputs, inputs, 3, 3, dtype=torch.float64, requires_grad=True)
    F.conv2d(x, weight, padding=1).backward(dy)
    torch.testing.assert_close(weight_gradient(x, dy), weight.grad)


def _expected(side: int, winograd: Literal["auto", 0]) -> str:
    tiles = side > 1 and can_convolve(torch.zeros(20, 16, side, side).contiguous(memory_format=torch.channels_last), 32)
    if winograd == "auto" and tiles:
        return "_WinogradBackward"
    return "_SmallImagesBackward" if side * side <= MAX_PIXELS else "ConvolutionBackward0"


@pytest.mark.parametrize("side", [1, 3, 4, 7])
@pytest.mark.parametrize("winograd", ["auto", 0])
def test_output_and_gradients_are_pytorchs(side: int, winograd: Literal["auto", 0]) -> None:
    x = torch.randn(20, 16, side, side).contiguous(memory_format=torch.channels_last)
    results = []
    for fused in (True, False):
        conv = Conv3x3(16, 32, fused=fused, winograd=winograd)
        torch.nn.init.normal_(conv.weight, generator=torch.Generator().manual_seed(0))
        images = x.clone().requires_grad_()
        y = conv(images)
        assert type(y.grad_fn).__name__ == (_expected(side, winograd) if fused else "ConvolutionBackward0")
        y.backward(torch.ones_like(y))
        results.append([y, images.grad, conv.weight.grad])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_small_images_in_bfloat16_round_once() -> None:
    """Their sums are in float32. Not so PyTorch's on every processor, so the reference is float64."""
    x = torch.randn(20, 8, 3, 3).bfloat16().contiguous(memory_format=torch.channels_last)
    results = []
    for dtype in (torch.bfloat16, torch.float64):
        conv = Conv3x3(8, 16, winograd=0).to(dtype)
        with torch.no_grad():
            conv.weight.copy_(torch.randn(conv.weight.shape, generator=torch.Generator().manual_seed(0)).bfloat16())
        images = x.to(dtype).requires_grad_()
        y = conv(images)
        y.backward(torch.ones_like(y))
        results.append((y, conv.weight.grad))
    for ours, exact in zip(*results, strict=True):
        assert ours is not None
        assert exact is not None
        torch.testing.assert_close(ours.double(), exact, atol=1e-2, rtol=2**-8)


def test_a_frozen_filter_gets_no_gradient() -> None:
    conv = Conv3x3(8, 8, winograd=4)
    conv.weight.requires_grad_(False)
    x = torch.randn(2, 8, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    conv(x).sum().backward()
    assert conv.weight.grad is None
    assert x.grad is not None


def test_images_that_do_not_fit_are_refused_as_pytorch_does() -> None:
    x = torch.randn(2, 24, 8, 8).contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="expected input"):
        Conv3x3(8, 16, winograd=4)(x)
    with pytest.raises(RuntimeError, match="type"):
        Conv3x3(24, 16, winograd=4)(x.bfloat16())
