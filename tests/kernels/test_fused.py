"""The compiled kernels and PyTorch's own operations compute the same."""

import math
import shutil
import sys

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from airbench.kernels import kernels
from airbench.kernels.fused import ACTIVATIONS
from airbench.net.layers import Activation, Conv3x3, NormActivation

built = pytest.mark.skipif(kernels() is None, reason="the kernels were not built at installation")


def norm(channels: int, activation: str, pool: bool, fused: bool, dtype: torch.dtype = torch.float32) -> NormActivation:
    layer = NormActivation(channels, 1e-5, 0.4, pool=pool, activation=activation, fused=fused)
    generator = torch.Generator().manual_seed(channels)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(channels, generator=generator) + 0.5)
        layer.bias.copy_(torch.randn(channels, generator=generator))
    return layer.to(dtype)


def images(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    x = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 1
    return x.contiguous(memory_format=torch.channels_last)


def run(layer: torch.nn.Module, x: Tensor) -> list[Tensor]:
    """Output; gradients of input and parameters for some gradient of the output; buffers; output in evaluation."""
    x = x.clone().requires_grad_()
    y = layer(x)
    torch.manual_seed(0)
    dy = torch.randn(y.shape, dtype=torch.float32).bfloat16().to(y.dtype)
    y.backward(dy.contiguous(memory_format=torch.channels_last))
    layer.eval()
    with torch.no_grad():
        again = layer(x)
    assert x.grad is not None
    gradients = [p.grad for p in layer.parameters() if p.grad is not None]
    return [t.detach().double() for t in (y, x.grad, *gradients, *layer.buffers(), again)]


def test_the_kernels_are_built_where_a_compiler_is() -> None:
    if sys.platform != "linux" or shutil.which("g++") is None:
        pytest.skip("no compiler that is known to build them")
    assert kernels() is not None


@built
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pool", [False, True])
def test_float32_agrees_with_float64(activation: str, pool: bool) -> None:
    x = images((6, 37, 7, 9))  # no multiple of any vector, odd sides
    fused = run(norm(37, activation, pool, fused=True), x)
    exact = run(norm(37, activation, pool, fused=False, dtype=torch.float64), x.double())
    for ours, reference in zip(fused, exact, strict=True):
        # Polynomials of GELU are within 5e-7 of a value that is multiplied with inputs and gradients of up to 10.
        torch.testing.assert_close(ours, reference, atol=2e-5, rtol=1e-5)


@built
@given(
    st.integers(1, 9), st.integers(1, 70), st.integers(2, 9), st.integers(2, 9),
    st.booleans(), st.sampled_from(sorted(ACTIVATIONS)), st.integers(0, 99),
)  # fmt: skip
def test_any_shape_agrees_with_float64(
    n: int, channels: int, height: int, width: int, pool: bool, activation: str, seed: int
) -> None:
    assume(n * (height // 2) * (width // 2) >= 8)  # of fewer values the variance may be all but 0
    x = images((n, channels, height, width), seed)
    fused = run(norm(channels, activation, pool, fused=True), x)
    exact = run(norm(channels, activation, pool, fused=False, dtype=torch.float64), x.double())
    for ours, reference in zip(fused, exact, strict=True):
        # What is divided by a small deviation is inexact.
        torch.testing.assert_close(ours, reference, atol=2e-3, rtol=1e-3)


@built
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pool", [False, True])
def test_bfloat16_is_no_further_from_float64_than_pytorch(activation: str, pool: bool) -> None:
    x = images((8, 48, 10, 10)).bfloat16()
    exact = run(norm(48, activation, pool, fused=False, dtype=torch.float64), x.double())
    layers = {fused: norm(48, activation, pool, fused=fused) for fused in (True, False)}
    ours, pytorchs = (run(layers[fused], x) for fused in (True, False))
    for mine, theirs, reference in zip(ours, pytorchs, exact, strict=True):
        # One rounding to bfloat16 where PyTorch has two or three; what neither rounds differs by float32's error.
        scale = reference.norm()
        assert (mine - reference).norm() <= 1.05 * (theirs - reference).norm() + 1e-6 * scale
        assert (mine - reference).norm() <= 2**-8 * scale + 1e-9


@built
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activation_alone(name: str, dtype: torch.dtype) -> None:
    x = torch.linspace(-40, 40, 3 * 24 * 5 * 7).reshape(3, 24, 5, 7)
    x = x.to(dtype).contiguous(memory_format=torch.channels_last)
    fused, exact = run(Activation(name), x), run(Activation(name, fused=False), x.double())
    for ours, reference in zip(fused, exact, strict=True):
        atol, rtol = (2e-5, 1e-6) if dtype == torch.float32 else (2e-5, 2**-8)
        torch.testing.assert_close(ours, reference, atol=atol, rtol=rtol)


@built
@pytest.mark.usefixtures("processor")
def test_of_equal_pixels_the_first_gets_the_gradient_and_nan_is_the_largest() -> None:
    values = torch.tensor([0.0, 1.0, 1.0, float("nan"), float("inf"), -1.0])
    chosen = torch.randint(6, (4, 32, 6, 6), generator=torch.Generator().manual_seed(0))
    x = values[chosen].contiguous(memory_format=torch.channels_last)
    x[:, 16:] = x[:, 16:].nan_to_num(0.0, posinf=2.0)
    x, reference = x.clone().requires_grad_(), x.clone().requires_grad_()
    assert x.is_contiguous(memory_format=torch.channels_last)
    y = norm(32, "identity", pool=True, fused=True)(x)
    expected = norm(32, "identity", pool=True, fused=False)(reference)
    gradient = torch.randn(y.shape)
    y.backward(gradient)
    expected.backward(gradient)
    assert y[:, :16].isnan().all()  # a NaN is never lost
    torch.testing.assert_close(y[:, 16:], expected[:, 16:])
    assert x.grad is not None
    assert reference.grad is not None
    torch.testing.assert_close(x.grad[:, 16:], reference.grad[:, 16:])


@built
@pytest.mark.usefixtures("processor")
def test_a_channel_of_one_value_has_no_variance() -> None:
    layer = NormActivation(16, 1e-12, 0.5, pool=False, activation="identity")
    x = torch.full((50, 16, 8, 8), 3.3).contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer(x), torch.zeros_like(x))
    assert torch.equal(layer.running_var, torch.full((16,), 0.5))


@built
def test_the_same_bits_every_time() -> None:
    x = images((32, 24, 12, 12)).bfloat16()
    first, second = (run(norm(24, "gelu", pool=True, fused=True), x) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@built
def test_threads_without_an_image_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    x = images((2, 24, 6, 6))
    one = run(norm(24, "gelu", pool=True, fused=True), x)
    monkeypatch.setattr("torch.get_num_threads", lambda: 7)
    seven = run(norm(24, "gelu", pool=True, fused=True), x)
    for ours, theirs in zip(seven, one, strict=True):
        torch.testing.assert_close(ours, theirs)


@built
def test_weights_in_half_precision_go_the_slow_way() -> None:
    x = images((4, 8, 6, 6)).bfloat16()
    fused, slow = (norm(8, "gelu", pool=True, fused=fused).bfloat16() for fused in (True, False))
    assert torch.equal(fused(x), slow(x))


@pytest.mark.parametrize("pool", [False, True])
def test_without_kernels_it_is_pytorch(pool: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images((4, 8, 6, 6))
    with monkeypatch.context() as patch:
        patch.setattr("airbench.kernels.kernels", lambda: None)
        without = run(norm(8, "gelu", pool, fused=True), x)
    slow = run(norm(8, "gelu", pool, fused=False), x)
    assert all(torch.equal(a, b) for a, b in zip(without, slow, strict=True))


def test_what_the_kernels_do_not_know_goes_the_slow_way() -> None:
    layer = norm(8, "gelu", pool=True, fused=True)
    contiguous = images((4, 8, 6, 6)).contiguous()
    slow = norm(8, "gelu", pool=True, fused=False)(contiguous)
    assert torch.equal(layer(contiguous), slow)
    with FakeTensorMode():
        fake = torch.empty(4, 8, 6, 6).contiguous(memory_format=torch.channels_last)
        assert Activation("gelu")(fake).shape == fake.shape
    one = images((1, 8, 2, 2))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(one)


def three_layers() -> list[torch.nn.Module]:
    conv = Conv3x3(16, 24, fused=True, winograd=3)
    torch.nn.init.dirac_(conv.weight)
    return [norm(16, "gelu", True, fused=True), Activation("silu"), conv]


@built
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_kernels_do_not_depend_on_the_default_type(dtype: torch.dtype) -> None:
    x = images((2, 16, 9, 9))
    expected = [run(layer, x) for layer in three_layers()]
    layers, before = three_layers(), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = [run(layer, x) for layer in layers]
    finally:
        torch.set_default_dtype(before)
    for ours, reference in zip(found, expected, strict=True):
        for one, other in zip(ours, reference, strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


@built
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_infinities_are_what_pytorch_makes_of_them(name: str) -> None:
    x = torch.tensor([-math.inf, -1.0, -0.0, 0.0, 1.0, math.inf]).repeat(32)[:, None].expand(-1, 16)
    x = x.reshape(1, 16, 12, 16).contiguous(memory_format=torch.channels_last)
    expected = ACTIVATIONS[name](x)
    finite = expected.isfinite()  # PyTorch's GELU and SiLU of -inf are no numbers
    torch.testing.assert_close(Activation(name)(x)[finite], expected[finite], atol=2e-5, rtol=1e-6)
