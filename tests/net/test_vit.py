"""The vision transformer against one put together from PyTorch's own layers, and what its recipes rely on."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.net.base import NetContext, build_net
from airbench.net.vit import Attention, ViT
from airbench.optim.groups import route
from airbench.recipe import load_recipe
from airbench.recipe.nets import ViT as Config

IMAGES = NetContext(10, 16)
SMALL = Config(patch=4, width=12, depth=2, heads=3, mlp_ratio=2.0, qk_norm=False)


def made(config: Config = SMALL, context: NetContext = IMAGES) -> ViT:
    net = ViT(config, context)
    net.reset(torch.Generator().manual_seed(0))
    return net


def pytorchs_layers(net: ViT) -> list[nn.TransformerEncoderLayer]:
    """PyTorch's pre-norm encoder layers with the weights of ``net``."""
    layers = []
    for block in net.blocks:
        width, hidden = block.mlp.down.weight.shape
        layer = nn.TransformerEncoderLayer(
            width, 3, hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        attention, qkv, proj = layer.self_attn, block.attention.qkv, block.attention.proj
        pairs = (
            (attention.in_proj_weight, qkv.weight), (attention.in_proj_bias, None),
            (attention.out_proj.weight, proj.weight), (attention.out_proj.bias, proj.bias),
            (layer.linear1.weight, block.mlp.up.weight), (layer.linear1.bias, block.mlp.up.bias),
            (layer.linear2.weight, block.mlp.down.weight), (layer.linear2.bias, block.mlp.down.bias),
        )  # fmt: skip
        for theirs, ours in pairs:
            theirs.data.copy_(torch.zeros_like(theirs) if ours is None else ours)
        layers.append(layer)
    return layers


def test_forward_and_gradients_are_those_of_pytorchs_transformer() -> None:
    net = made()
    with torch.no_grad():
        for p in net.parameters():  # biases, too
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    layers = pytorchs_layers(net)
    for ours, theirs in zip(net.blocks, layers, strict=True):
        theirs.norm1.load_state_dict(ours.norm1.state_dict())
        theirs.norm2.load_state_dict(ours.norm2.state_dict())
    images = torch.randn(5, 3, 16, 16)
    patch = net.patch.weight.detach().view(12, 3, 4, 4)
    x = F.conv2d(images, patch, net.patch.bias, stride=4).flatten(2).mT + net.positions
    for layer in layers:
        x = layer(x)
    expected = net.head(net.norm(x).mean(1))
    torch.testing.assert_close(net(images), expected, rtol=1e-4, atol=1e-5)
    net(images).square().sum().backward()
    expected.square().sum().backward()
    for ours, theirs in zip(net.blocks, layers, strict=True):
        torch.testing.assert_close(
            ours.attention.qkv.weight.grad, theirs.self_attn.in_proj_weight.grad, rtol=1e-3, atol=1e-4
        )


def test_with_qk_norm_logits_do_not_grow_with_the_weights() -> None:
    attention = Attention(12, 3, qk_norm=True)
    attention.measures_logits = True
    x = torch.randn(2, 5, 12)
    seen = []
    for scale in (1.0, 100.0):
        attention.qkv.weight.data.mul_(scale)
        attention.max_logit.fill_(-math.inf)
        attention(x)
        seen.append(attention.max_logit.clone())
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-3, atol=1e-3)
    assert (seen[1] <= 2.0 + 1e-5).all()  # |q| = |k| = √4, and logits are divided by √4


@pytest.mark.parametrize("name", ["gelu", "relu_squared"])
def test_the_mlp_uses_the_activation_that_is_named(name: str) -> None:
    mlp = made(SMALL.model_copy(update={"activation": name})).blocks[0].mlp
    x = torch.randn(2, 3, 12)
    hidden = F.linear(x, mlp.up.weight, mlp.up.bias)
    hidden = F.gelu(hidden) if name == "gelu" else hidden.clamp(min=0) ** 2
    torch.testing.assert_close(mlp(x), F.linear(hidden, mlp.down.weight, mlp.down.bias))


def test_reset_is_decided_by_its_seed_and_sets_everything() -> None:
    states = []
    for seed in (0, 0, 1):
        net = build_net(SMALL, NetContext(10, 16), torch.device("cpu"), torch.float32)
        for tensor in (*net.parameters(), *net.buffers()):
            tensor.data.fill_(math.nan)
        net.reset(torch.Generator().manual_seed(seed))
        states.append({**dict(net.named_parameters()), **dict(net.named_buffers())})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not any(value.isnan().any() for value in states[0].values())
    for name in ("patch.weight", "positions", "head.weight", "blocks.1.mlp.up.weight"):
        assert not torch.equal(states[0][name], states[2][name]), name


@pytest.mark.parametrize(("side", "channels", "patch"), [(28, 1, 7), (8, 3, 2), (64, 3, 16), (4, 3, 4)])
def test_any_images_that_the_patches_tile(side: int, channels: int, patch: int) -> None:
    net = made(SMALL.model_copy(update={"patch": patch}), NetContext(5, side, channels))
    assert net(torch.randn(2, channels, side, side)).shape == (2, 5)
    with pytest.raises(RuntimeError):
        net(torch.randn(2, channels, side * 2, side * 2))


def test_patches_are_those_of_a_strided_convolution_for_either_layout_of_memory() -> None:
    net, images = made(), torch.randn(2, 3, 16, 16)
    expected = F.unfold(images, 4, stride=4).mT
    assert torch.equal(net.patches(images), expected)
    assert torch.equal(net.patches(images.contiguous(memory_format=torch.channels_last)), expected)


def test_images_and_widths_that_do_not_fit_are_answered_in_one_line() -> None:
    with pytest.raises(
        RecipeError, match=r"net.patch = 5: .* do not tile images of 32×32; give one of 1, 2, 4, 8"
    ) as e:
        ViT(Config(patch=5), NetContext(10, 32))
    assert "\n" not in str(e.value)
    with pytest.raises(RecipeError, match=r"width = 97 is not a multiple of heads = 2"):
        load_recipe("muon", ["net.width=97"])


def test_recipes_send_matrices_to_muon_and_the_rest_to_adamw() -> None:
    recipe = load_recipe("muon").recipe
    net = build_net(recipe.net, NetContext(10, 32), torch.device("meta"), torch.float32)
    groups = {group.name: group for group in route(net, recipe.optimizers)}
    for name in ("qkv", "matrices"):
        assert groups[name].config.name == "muon"
        assert all(".attention." in n or ".mlp." in n for n in groups[name].param_names)
    assert [len(groups[name].params) for name in ("qkv", "matrices")] == [4, 12]
    assert set(groups["embeddings"].param_names) == {"patch.weight", "positions", "head.weight"}
    assert all(p.ndim == 1 for p in groups["vectors"].params)


def test_number_of_weights_is_as_by_hand() -> None:
    net = build_net(Config(qk_norm=False), NetContext(10, 32), torch.device("meta"), torch.float32)
    w, tokens = 192, 64
    block = 12 * w * w + (w + 4 * w + w) + 4 * w  # matrices, biases of proj, up and down, two norms
    by_hand = (48 * w + w) + tokens * w + 6 * block + 2 * w + (10 * w + 10)
    assert sum(p.numel() for p in net.parameters()) == by_hand


def logits_of(attention: Attention, x: Tensor) -> Tensor:
    """Attention logits ``(N, heads, T, T)``, head by head."""
    width = x.shape[-1]
    d = width // attention.heads
    q, k = (attention.qkv.weight.detach()[i * width : (i + 1) * width] for i in (0, 1))
    rows = [slice(h * d, (h + 1) * d) for h in range(attention.heads)]
    return torch.stack([(x @ q[r].mT) @ (x @ k[r].mT).mT / d**0.5 for r in rows], 1)


def test_the_largest_logit_is_measured_in_training_only_and_accumulates() -> None:
    attention = Attention(12, 3, qk_norm=False)
    attention.max_logit.fill_(-math.inf)
    x, y = torch.randn(2, 4, 5, 12).unbind(0)
    attention(x)
    assert attention.max_logit.isneginf().all()  # nobody asked
    attention.measures_logits = True
    attention.eval()
    attention(x)
    attention.train()
    with torch.no_grad():
        attention(x)
    assert attention.max_logit.isneginf().all()
    attention(x)
    torch.testing.assert_close(attention.max_logit, logits_of(attention, x).amax((0, 2, 3)))
    attention(y)
    expected = torch.cat([logits_of(attention, x), logits_of(attention, y)]).amax((0, 2, 3))
    torch.testing.assert_close(attention.max_logit, expected)


def test_what_is_measured_is_no_part_of_the_weights() -> None:
    assert not any("max_logit" in name for name in made().state_dict())
