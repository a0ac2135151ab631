"""The convolution's own weight gradient is the true one."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from airbench.net.conv import MOST_PIXELS, Conv3x3, weight_gradient


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_weight_gradient_is_pytorchs(n: int, inputs: int, outputs: int, height: int, width: int) -> None:
    x, dy = torch.randn(n, inputs, height, width).double(), torch.randn(n, outputs, height, width).double()
    weight = torch.zeros(outputs, inputs, 3, 3, dtype=torch.float64, requires_grad=True)
    F.conv2d(x, weight, padding=1).backward(dy)
    torch.testing.assert_close(weight_gradient(x, dy), weight.grad)


@pytest.mark.parametrize("side", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_output_and_gradients_are_pytorchs(side: int, dtype: torch.dtype) -> None:
    x = torch.randn(20, 8, side, side).to(dtype).contiguous(memory_format=torch.channels_last)
    results = []
    for fused in (True, False):
        conv = Conv3x3(8, 16, fused=fused).to(dtype)
        torch.nn.init.normal_(conv.weight, generator=torch.Generator().manual_seed(0))
        images = x.clone().requires_grad_()
        y = conv(images)
        assert (type(y.grad_fn).__name__ == "_ConvolutionBackward") == (fused and side * side <= MOST_PIXELS)
        y.backward(torch.ones_like(y))
        results.append([y, images.grad, conv.weight.grad])
    # bfloat16: both sum in float32 and round once, so they differ by one rounding at most
    tolerance = {"atol": 1e-4, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 1e-2, "rtol": 2**-7}
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


def test_a_frozen_filter_gets_no_gradient() -> None:
    conv = Conv3x3(4, 4)
    conv.weight.requires_grad_(False)
    x = torch.randn(2, 4, 3, 3, requires_grad=True)
    conv(x).sum().backward()
    assert conv.weight.grad is None
    assert x.grad is not None
