"""ResNet-18 for small images: the usual net for "standard training" on CIFAR."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.net.base import Net, NetContext, uniform
from airbench.net.layers import Conv3x3
from airbench.recipe import nets as schema


class BasicBlock(nn.Module):
    """conv → norm → ReLU → conv → norm, plus the input, → ReLU (He et al. 2016, figure 2).

    ``(N, in_channels, H, W)`` → ``(N, out_channels, H / stride, W / stride)``, rounded up. Where shapes differ, the
    input goes through a 1×1 convolution and a norm.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, context: NetContext):
        super().__init__()
        self.conv1 = _conv3x3(in_channels, out_channels, stride, context)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv3x3(out_channels, out_channels, 1, context)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = F.relu(self.norm1(self.conv1(x)))
        if self.shortcut is not None:
            # The stride is taken here, since the gradient of a 1×1 convolution with one crashes on some CPUs (oneDNN as
            # of PyTorch 2.14, AVX2, few channels).
            x = self.shortcut(x[:, :, :: self.stride, :: self.stride])
        return F.relu(self.norm2(self.conv2(y)) + x)


def _conv3x3(in_channels: int, out_channels: int, stride: int, context: NetContext) -> nn.Conv2d:
    if stride == 1:
        return Conv3x3(in_channels, out_channels, fused=context.fused, winograd=context.winograd)
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


class ResNet18(Net):
    """Images ``(N, C, side, side)`` → logits ``(N, classes)``: a 3×3 stem, four stages of two blocks, mean, linear.

    Weights are undefined until :meth:`reset`. Raises RecipeError if images are smaller than 8×8.
    """

    def __init__(self, config: schema.ResNet18, context: NetContext):
        super().__init__()
        if context.side < 8:
            raise RecipeError(
                f"net.name = resnet18: images of {context.side}×{context.side} are too small; the minimum is 8×8"
            )
        self.config = config
        widths = [config.width * 2**stage for stage in range(4)]
        self.conv = _conv3x3(context.channels, widths[0], 1, context)
        self.norm = nn.BatchNorm2d(widths[0])
        blocks: list[nn.Module] = []
        channels = widths[0]
        for stage, width in enumerate(widths):
            for block in range(2):
                stride = 2 if stage and not block else 1
                blocks.append(BasicBlock(channels, width, stride, context))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, context.classes)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = self.blocks(F.relu(self.norm(self.conv(images))))
        return self.head(x.mean((2, 3)))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Initialise as He et al. (2015, arXiv 1502.01852) do: normal filters with variance 2 / (out · k²).

        The head uses PyTorch's default.
        """
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d):
                fan_out = module.weight[:, 0].numel()
                module.weight.copy_(
                    torch.empty(module.weight.shape).normal_(0, (2 / fan_out) ** 0.5, generator=generator)
                )
            elif isinstance(module, nn.Linear):
                for p in (module.weight, module.bias):
                    p.copy_(uniform(p, module.in_features, generator))
        if self.config.zero_init:
            for module in self.modules():
                if isinstance(module, BasicBlock):
                    module.norm2.weight.zero_()


def build_resnet18(config: schema.ResNet18, context: NetContext) -> ResNet18:
    """Build the net that ``config`` describes."""
    return ResNet18(config, context)
