"""CifarNet (Jordan 2024, section 3.1): a whitening layer, groups of convolutions, a linear head."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from airbench.kernels.conv import Conv3x3
from airbench.kernels.fused import Activation, NormActivation
from airbench.net.whiten import whitening_filters
from airbench.recipe import schema


class ConvGroup(nn.Module):
    """conv → max-pool 2 → norm → activation → conv → norm → activation, and with depth 3 once more.

    ``(N, in_channels, H, W)`` → ``(N, out_channels, H // 2, W // 2)``. A third convolution is residual: what
    entered it is added before the last activation.
    """

    def __init__(self, in_channels: int, out_channels: int, net: schema.Net):
        super().__init__()
        self.conv1 = Conv3x3(in_channels, out_channels, fused=net.fused, winograd=net.winograd)
        self.norm1 = _norm(out_channels, net, net.activation, pool=True)
        self.conv2 = Conv3x3(out_channels, out_channels, fused=net.fused, winograd=net.winograd)
        self.norm2 = _norm(out_channels, net, net.activation)
        self.depth = net.depth
        if net.depth == 3:
            self.conv3 = Conv3x3(out_channels, out_channels, fused=net.fused, winograd=net.winograd)
            self.norm3 = _norm(out_channels, net, "identity")
            self.activation = Activation(net.activation, fused=net.fused)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.norm2(self.conv2(self.norm1(self.conv1(x))))
        return self.activation(self.norm3(self.conv3(x)) + x) if self.depth == 3 else x


def _norm(channels: int, net: schema.Net, activation: str, *, pool: bool = False) -> NormActivation:
    knobs = net.batch_norm
    norm = NormActivation(
        channels, knobs.eps, 1 - knobs.momentum, pool=pool, activation=activation, fused=net.fused
    )  # fmt: skip
    norm.weight.requires_grad_(knobs.train_scale)
    return norm


class CifarNet(nn.Module):
    """Images ``(N, 3, side, side)`` → logits ``(N, classes)``.

    Raises ValueError for images too small for so many groups.
    Weights are undefined until :meth:`reset`; the whitening filters until :meth:`set_whitening`.
    """

    def __init__(self, net: schema.Net, classes: int = 10, side: int = 32):
        super().__init__()
        self.knobs = net
        white = 2 * 3 * net.whiten.kernel**2
        self.whiten = nn.Conv2d(3, white, net.whiten.kernel, bias=True)
        self.whiten.weight.requires_grad_(not net.whiten.frozen)
        self.whiten_activation = Activation("gelu", fused=net.fused)
        widths = (white, *net.widths)
        self.groups = nn.Sequential(*(ConvGroup(i, o, net) for i, o in pairwise(widths)))
        self.pool = nn.MaxPool2d(3)
        left = (side - net.whiten.kernel + 1) // 2 ** len(net.widths) // 3
        if left < 1:
            raise ValueError(f"images of {side}×{side} are too small for {len(net.widths)} groups")
        self.head = nn.Linear(net.widths[-1] * left * left, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = self.whiten_activation(self.whiten(images))
        x = self.pool(self.groups(x)).flatten(1)
        return self.head(x) * self.knobs.head.scale

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Initialise every weight from a host generator: one seed, the same weights on every device.

        PyTorch's default for convolutions and linear layers (uniform within ±1/√fan_in), then the identity
        in the first filters of each convolution.
        """
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d | nn.Linear):
                weight = _uniform(module.weight, module.weight[0].numel(), generator)
                if isinstance(module, nn.Conv2d) and module is not self.whiten and self.knobs.identity_init:
                    nn.init.dirac_(weight[: weight.shape[1]])
                if module is self.head and self.knobs.head.init == "unit_std":
                    weight /= weight.std()
                module.weight.copy_(weight)
                if module.bias is not None:
                    module.bias.copy_(_uniform(module.bias, module.weight[0].numel(), generator))

    @torch.no_grad()
    def set_whitening(self, images: Tensor) -> None:
        """Compute the whitening filters from normalised training images ``(N, 3, H, W)``, where the net has such."""
        knobs = self.knobs.whiten
        if knobs.filters == "whitening":
            self.whiten.weight.copy_(whitening_filters(images[: knobs.images], knobs.kernel, knobs.eps))


def _uniform(like: Tensor, fan_in: int, generator: torch.Generator) -> Tensor:
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(like.shape).uniform_(-bound, bound, generator=generator)


def build_net(net: schema.Net, classes: int, side: int, device: torch.device, dtype: torch.dtype) -> CifarNet:
    """The net on ``device``: weights in ``dtype``, batch normalisation in float32, channels-last.

    Built on the meta device and then given memory: every value is for :meth:`CifarNet.reset` to set. (By hand,
    since Module.to and Module.to_empty do not work under FakeTensorMode.)
    """
    with torch.device("meta"):
        model = CifarNet(net, classes, side)
    for module in model.modules():
        own = torch.float32 if isinstance(module, nn.BatchNorm2d) else dtype
        for name, p in module.named_parameters(recurse=False):
            layout = torch.channels_last if p.ndim == 4 else torch.contiguous_format
            value = torch.empty(p.shape, dtype=own, device=device, memory_format=layout)
            setattr(module, name, nn.Parameter(value, requires_grad=p.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype, device=device))
    return model
