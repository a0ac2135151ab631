"""The interface of nets, and how they are built from a config."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from airbench.errors import RecipeError
from airbench.kernels.conv import Tile
from airbench.recipe.nets import NETS, NetConfig

FLOAT32 = _BatchNorm
"""Modules whose weights and buffers are kept in float32."""

FirstImages = Callable[[int], Tensor]
"""n → the first n training images, normalised: ``(n, C, H, W)``, or fewer if there are not that many."""


@dataclass(frozen=True)
class NetContext:
    """Context for the factory of a net, besides its config: the images, and the kernels a CPU may use."""

    classes: int
    side: int
    channels: int = 3
    fused: bool = True
    winograd: Tile = "auto"


class Net(nn.Module):
    """Images ``(N, C, side, side)`` → logits ``(N, classes)``.

    Weights are undefined until :meth:`reset`. Any module with such a ``reset`` will do. One with layers that are
    computed from training images also has ``prepare`` (see :class:`Prepared`).
    """

    def reset(self, generator: torch.Generator) -> None:
        """Initialise all weights and buffers from a CPU generator: a seed gives the same weights on every device."""
        raise NotImplementedError


@runtime_checkable
class Prepared(Protocol):
    """A net with layers that are computed from training images."""

    def prepare(self, first_images: FirstImages) -> None:
        """Compute these layers. Called on the clock, after each reset."""


def prepare(net: nn.Module, first_images: FirstImages) -> None:
    """Compute the layers of ``net`` that depend on training images, if it has any."""
    if isinstance(net, Prepared):
        net.prepare(first_images)


def build_net(config: NetConfig, context: NetContext, device: torch.device, dtype: torch.dtype) -> Net:
    """Build the net on ``device``: weights in ``dtype``, batch normalisation in float32, channels-last.

    It is built on the meta device and then given memory; ``reset`` sets all values.
    """
    with torch.device("meta"):
        net: Net = NETS.build(config, context)
    materialize(net, device, dtype)
    return net


def materialize(net: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Allocate memory for a net on the meta device: uninitialised parameters in ``dtype``, zeros for buffers.

    Batch normalisation is kept in float32. A parameter that several modules share stays one. (Module.to and
    Module.to_empty do not work under FakeTensorMode.)
    """
    made: dict[nn.Parameter, nn.Parameter] = {}
    for module in net.modules():
        own = torch.float32 if isinstance(module, FLOAT32) else dtype
        for name, p in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if p not in made:
                layout = torch.channels_last if p.ndim == 4 else torch.contiguous_format
                value = torch.empty(p.shape, dtype=own, device=device, memory_format=layout)
                made[p] = nn.Parameter(value, requires_grad=p.requires_grad)
            setattr(module, name, made[p])
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype, device=device))


def check_reset(config: NetConfig, context: NetContext) -> None:
    """Raise RecipeError if ``reset`` leaves weights or buffers as they were, by which a trial would depend on the last.

    ``prepare``, if there is one, may set the rest. Tried on a CPU, with a net of its own and a few random images.
    """
    net = build_net(config, context, torch.device("cpu"), torch.float32)
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    with torch.no_grad():
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor.fill_(math.nan)
    generator = torch.Generator().manual_seed(0)
    net.reset(generator)
    shape = (context.channels, context.side, context.side)
    prepare(net, lambda count: torch.randn(min(count, 50), *shape, generator=generator))
    left = [name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.isnan().any()]
    if left:
        raise RecipeError(
            f"net {config.name}: reset(generator) does not set {', '.join(left[:5])}{', …' if len(left) > 5 else ''}; "
            "it must set every weight and buffer, also those that modules set when they are made"
        )


def uniform(like: Tensor, fan_in: int, generator: torch.Generator) -> Tensor:
    """Draw a tensor like ``like`` on the host, uniform within ±1/√fan_in: PyTorch's default for weights and biases."""
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(like.shape).uniform_(-bound, bound, generator=generator)
