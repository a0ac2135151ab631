"""CifarNet is the published net: its layers, its initial weights, its shapes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from airbench.errors import RecipeError
from airbench.net.base import NetContext, build_net, prepare
from airbench.net.cifarnet import CifarNet
from airbench.net.layers import GlobalMaxPool
from airbench.recipe.nets import CifarNet as Config
from airbench.recipe.nets import Head, Whiten
from tests.conftest import tiny


def cifarnet(config: Config, classes: int = 10, side: int = 32) -> CifarNet:
    return CifarNet(config, NetContext(classes, side))


def reset(net: CifarNet, seed: int = 0) -> CifarNet:
    net.reset(torch.Generator().manual_seed(seed))
    return net


def test_forward_equals_the_net_written_out() -> None:
    net = reset(cifarnet(Config(widths=(4, 6, 8), head=Head(scale=0.5)))).train()
    x = torch.randn(10, 3, 32, 32)
    p = dict(net.named_parameters())
    y = F.gelu(F.conv2d(x, p["whiten.weight"], p["whiten.bias"]))
    assert y.shape == (10, 24, 31, 31)
    for group, side in enumerate((15, 7, 3)):
        y = F.conv2d(y, p[f"groups.{group}.conv1.weight"], padding=1)
        y = F.gelu(F.batch_norm(F.max_pool2d(y, 2), None, None, training=True, eps=1e-12))
        y = F.conv2d(y, p[f"groups.{group}.conv2.weight"], padding=1)
        y = F.gelu(F.batch_norm(y, None, None, training=True, eps=1e-12))
        assert y.shape[2:] == (side, side)
    expected = F.max_pool2d(y, 3).flatten(1) @ p["head.weight"].T * 0.5
    assert torch.allclose(net(x), expected, atol=1e-5)


def test_third_convolution_is_residual() -> None:
    net = reset(cifarnet(Config(widths=(4,), depth=3))).eval()
    group = net.groups[0]
    for norm in (group.norm1, group.norm2, group.norm3):
        norm.eps = 0.0
    x = torch.randn(2, 24, 8, 8)
    inner = F.gelu(group.conv2(F.gelu(F.max_pool2d(group.conv1(x), 2))))
    assert torch.allclose(group(x), F.gelu(group.conv3(inner) + inner), atol=1e-5)


def test_initial_weights() -> None:
    net = reset(cifarnet(Config()))
    conv = net.groups[1].conv1.weight  # 64 → 256
    assert torch.equal(conv[:64], nn.init.dirac_(torch.empty(64, 64, 3, 3)))
    bound = 1 / (64 * 9) ** 0.5
    assert conv[64:].abs().max() <= bound
    assert conv[64:].std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert net.head.weight.std().item() == pytest.approx(1, rel=1e-5)
    assert net.whiten.bias is not None
    assert 0 < net.whiten.bias.abs().max() <= 1 / 12**0.5
    assert reset(cifarnet(Config(head=Head(init="default")))).head.weight.abs().max() <= 1 / 16
    plain = reset(cifarnet(Config(identity_init=False))).groups[1].conv1.weight
    assert plain[:64].abs().max() <= bound


def test_reset_forgets_everything_and_is_decided_by_its_seed() -> None:
    net = reset(cifarnet(Config(widths=(4, 8, 8))))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.train()(torch.randn(4, 3, 32, 32)).sum().backward()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1)
    after = reset(net).state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    other = reset(net, 1).state_dict()
    assert not torch.equal(before["groups.1.conv1.weight"], other["groups.1.conv1.weight"])


def test_what_is_trainable() -> None:
    names = {name for name, p in cifarnet(Config()).named_parameters() if p.requires_grad}
    assert "whiten.weight" not in names
    assert {"whiten.bias", "head.weight", "groups.0.norm1.bias", "groups.2.conv2.weight"} <= names
    assert not any(name.endswith(("norm1.weight", "norm2.weight")) for name in names)


def test_number_of_weights_is_the_published_nets() -> None:
    net = cifarnet(Config())
    assert sum(p.numel() for p in net.parameters() if p.ndim == 4 and p.requires_grad) == 1_967_616


def test_batch_norm_keeps_sixty_percent_of_its_running_mean() -> None:
    net = reset(cifarnet(Config(widths=(4,)))).train()
    norm = net.groups[0].norm1
    norm.running_mean.fill_(1.0)
    norm(torch.zeros(8, 4, 3, 3))
    assert torch.allclose(norm.running_mean, torch.full((4,), 0.6))


@pytest.mark.parametrize("side", [24, 32, 48])
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("widths", [(4,), (4, 5), (4, 5, 6)])
def test_head_fits_every_size(side: int, kernel: int, widths: tuple[int, ...]) -> None:
    config = Config(widths=widths, whiten=Whiten(kernel=kernel))
    if (side - kernel + 1) >> len(widths) < 3:
        with pytest.raises(RecipeError, match="too small"):
            cifarnet(config, classes=7, side=side)
        return
    net = reset(cifarnet(config, classes=7, side=side))
    assert net(torch.randn(2, 3, side, side)).shape == (2, 7)


def test_built_net_is_channels_last_with_norms_in_float32() -> None:
    net = build_net(tiny().recipe.net, NetContext(10, 32), torch.device("cpu"), torch.bfloat16)
    assert net.groups[1].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    for module in net.modules():
        for p in module.parameters(recurse=False):
            assert p.dtype == (torch.float32 if isinstance(module, nn.BatchNorm2d) else torch.bfloat16)


def test_a_random_first_layer_is_left_as_it_is_and_can_be_trained() -> None:
    frozen = cifarnet(Config(widths=(4, 4, 4), whiten=Whiten(filters="random")))
    trained = cifarnet(Config(widths=(4, 4, 4), whiten=Whiten(filters="random", frozen=False)))
    for net in (frozen, trained):
        net.reset(torch.Generator().manual_seed(0))
        before = net.whiten.weight.clone()
        prepare(net, lambda count: torch.randn(10, 3, 32, 32)[:count])
        assert torch.equal(net.whiten.weight, before)
    assert not frozen.whiten.weight.requires_grad
    assert trained.whiten.weight.requires_grad


@given(side=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_global_pool_is_pytorchs_adaptive_one(side: int, seed: int) -> None:
    x = torch.randint(4, (2, 3, side, side), generator=torch.Generator().manual_seed(seed)).float()  # with ties
    outs, gradients = [], []
    for pool in (GlobalMaxPool(), torch.nn.AdaptiveMaxPool2d(1)):
        leaf = x.clone().requires_grad_()
        outs.append(pool(leaf))
        gradients.append(torch.autograd.grad(outs[-1].sum(), leaf)[0])
    assert torch.equal(*outs)
    assert torch.equal(*gradients)
