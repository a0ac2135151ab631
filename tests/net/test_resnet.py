"""ResNet-18 is torchvision's, with the stem for small images."""

import pytest
import torch
import torchvision
from torch import nn

from airbench.errors import RecipeError
from airbench.net.base import NetContext
from airbench.net.resnet import ResNet18
from airbench.recipe.nets import ResNet18 as Config


def torchvisions(classes: int) -> nn.Module:
    net = torchvision.models.resnet18(num_classes=classes)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


def renamed(name: str) -> str:
    """A parameter of ours as torchvision calls it."""
    if name.startswith("blocks."):
        _, block, rest = name.split(".", 2)
        rest = rest.replace("shortcut", "downsample").replace("norm", "bn")
        return f"layer{int(block) // 2 + 1}.{int(block) % 2}.{rest}"
    return name.replace("conv.", "conv1.").replace("norm.", "bn1.").replace("head.", "fc.")


def test_forward_equals_torchvisions_with_the_same_weights() -> None:
    net, reference = ResNet18(Config(), NetContext(7, 32)), torchvisions(7)
    net.reset(torch.Generator().manual_seed(0))
    reference.load_state_dict({renamed(name): value for name, value in net.state_dict().items()})
    images = torch.randn(4, 3, 32, 32)
    assert torch.allclose(net.eval()(images), reference.eval()(images), atol=1e-4)


def test_number_of_weights_is_the_known_one() -> None:
    net = ResNet18(Config(), NetContext(10, 32))
    assert sum(p.numel() for p in net.parameters()) == 11_173_962


def test_reset_is_decided_by_its_seed_and_scales_filters_by_fan_out() -> None:
    net = ResNet18(Config(width=32), NetContext(10, 32))
    states = []
    for seed in (0, 0, 1):
        net.reset(torch.Generator().manual_seed(seed))
        states.append({name: value.clone() for name, value in net.state_dict().items()})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["conv.weight"], states[2]["conv.weight"])
    conv = states[0]["blocks.4.conv1.weight"]  # 64 → 128
    assert conv.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


def test_with_zero_init_blocks_start_as_the_identity() -> None:
    net = ResNet18(Config(width=8, zero_init=True), NetContext(10, 32))
    net.reset(torch.Generator().manual_seed(0))
    x = torch.rand(2, 8, 16, 16)
    assert torch.allclose(net.eval().blocks[0](x), x)


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (64, 3)])
def test_any_size_that_is_large_enough(side: int, channels: int) -> None:
    net = ResNet18(Config(width=4), NetContext(3, side, channels))
    net.reset(torch.Generator().manual_seed(0))
    assert net(torch.randn(2, channels, side, side)).shape == (2, 3)
    with pytest.raises(RecipeError, match="too small"):
        ResNet18(Config(), NetContext(3, 7))
