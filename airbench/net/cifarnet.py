"""CifarNet (Jordan 2024, section 3.1): a whitening layer, groups of convolutions, a linear head."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.net.base import FirstImages, Net, NetContext, uniform
from airbench.net.layers import Activation, Conv3x3, GlobalMaxPool, NormActivation
from airbench.net.whiten import whitening_filters
from airbench.recipe import nets as schema


class ConvGroup(nn.Module):
    """conv → max-pool 2 → norm → activation → conv → norm → activation, and with depth 3 once more.

    ``(N, in_channels, H, W)`` → ``(N, out_channels, H // 2, W // 2)``. A third convolution is residual: its
    input is added before the last activation.
    """

    def __init__(self, in_channels: int, out_channels: int, config: schema.CifarNet, context: NetContext):
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, context)
        self.norm1 = _norm(out_channels, config, context, config.activation, pool=True)
        self.conv2 = _conv(out_channels, out_channels, context)
        self.norm2 = _norm(out_channels, config, context, config.activation)
        self.depth = config.depth
        if config.depth == 3:
            self.conv3 = _conv(out_channels, out_channels, context)
            self.norm3 = _norm(out_channels, config, context, "identity")
            self.activation = Activation(config.activation, fused=context.fused)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.norm2(self.conv2(self.norm1(self.conv1(x))))
        return self.activation(self.norm3(self.conv3(x)) + x) if self.depth == 3 else x


def _conv(in_channels: int, out_channels: int, context: NetContext) -> Conv3x3:
    return Conv3x3(in_channels, out_channels, fused=context.fused, winograd=context.winograd)


def _norm(
    channels: int, config: schema.CifarNet, context: NetContext, activation: str, *, pool: bool = False
) -> NormActivation:
    bn = config.batch_norm
    norm = NormActivation(
        channels, bn.eps, 1 - bn.momentum, pool=pool, activation=activation, fused=context.fused
    )  # fmt: skip
    norm.weight.requires_grad_(bn.train_scale)
    return norm


class CifarNet(Net):
    """Images ``(N, C, side, side)`` → logits ``(N, classes)``.

    Raises RecipeError if the images are too small for the number of groups.
    Weights are undefined until :meth:`reset`; the whitening filters until :meth:`prepare`.
    """

    def __init__(self, config: schema.CifarNet, context: NetContext):
        super().__init__()
        self.config = config
        kernel = config.whiten.kernel
        white = 2 * context.channels * kernel**2
        self.whiten = nn.Conv2d(context.channels, white, kernel, bias=True)
        self.whiten.weight.requires_grad_(not config.whiten.frozen)
        self.whiten_activation = Activation("gelu", fused=context.fused)
        widths = (white, *config.widths)
        self.groups = nn.Sequential(*(ConvGroup(i, o, config, context) for i, o in pairwise(widths)))
        left = (context.side - kernel + 1) // 2 ** len(config.widths)
        everything = config.final_pool == "global"
        self.pool = GlobalMaxPool() if everything else nn.MaxPool2d(3)
        left = min(left, 1) if everything else left // 3
        if left < 1:
            raise RecipeError(
                f"net.widths: images of {context.side}×{context.side} are too small for {len(config.widths)} groups; "
                "use fewer"
            )
        self.head = nn.Linear(config.widths[-1] * left * left, context.classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = self.whiten_activation(self.whiten(images))
        x = self.pool(self.groups(x)).flatten(1)
        return self.head(x) * self.config.head.scale

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Initialise every weight from a CPU generator, so that a seed gives the same weights on every device.

        PyTorch's default for convolutions and linear layers (uniform within ±1/√fan_in), then the identity
        in the first filters of each convolution.
        """
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d | nn.Linear):
                weight = uniform(module.weight, module.weight[0].numel(), generator)
                if isinstance(module, nn.Conv2d) and module is not self.whiten and self.config.identity_init:
                    nn.init.dirac_(weight[: weight.shape[1]])
                if module is self.head and self.config.head.init == "unit_std":
                    weight /= weight.std()
                module.weight.copy_(weight)
                if module.bias is not None:
                    module.bias.copy_(uniform(module.bias, module.weight[0].numel(), generator))

    @torch.no_grad()
    def prepare(self, first_images: FirstImages) -> None:
        """Compute the whitening filters from training images, unless the first layer is random."""
        whiten = self.config.whiten
        if whiten.filters == "whitening":
            self.whiten.weight.copy_(whitening_filters(first_images(whiten.images), whiten.kernel, whiten.eps))


def build_cifarnet(config: schema.CifarNet, context: NetContext) -> CifarNet:
    """Build the net that ``config`` describes."""
    return CifarNet(config, context)
