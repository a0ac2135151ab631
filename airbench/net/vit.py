"""A small vision transformer (Dosovitskiy et al. 2021): patches, blocks of attention and MLP, the mean over patches."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.net.base import Net, NetContext, uniform
from airbench.recipe import nets as schema

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu_squared": lambda x: F.relu(x).square(),
}
"""The nonlinearity of the MLPs, by name. ReLU²: So et al. 2021 (Primer, arXiv 2109.08668)."""


class Attention(nn.Module):
    """Multi-head self-attention without a mask: tokens ``(N, T, width)`` → the same shape.

    The rows of ``qkv.weight`` ``(3 · width, width)`` are the queries of each head, the keys of each head, the values of
    each head. There is no bias, so that scaling these rows scales queries and keys (see ``airbench/optim/qk_clip.py``).

    The logits are computed explicitly and not by F.scaled_dot_product_attention, which does not return them: their
    largest is then one reduction of a tensor that is there anyway, and for the few patches of a small image (T = 64)
    that tensor is small.
    """

    max_logit: Tensor
    """The largest attention logit of each head ``(heads,)``, over all forward passes since it was set to -∞. Measured
    if ``measures_logits`` is set, and in training only: evaluation does not change it."""

    def __init__(self, width: int, heads: int, *, qk_norm: bool):
        super().__init__()
        self.heads, self.qk_norm, self.measures_logits = heads, qk_norm, False
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm, self.k_norm = (nn.RMSNorm(width // heads) if qk_norm else nn.Identity() for _ in range(2))
        self.proj = nn.Linear(width, width)
        self.register_buffer("max_logit", torch.zeros(heads, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (N, heads, T, width / heads)
        logits = (self.q_norm(q) * self.scale) @ self.k_norm(k).mT
        if self.measures_logits and self.training and torch.is_grad_enabled():
            largest = logits.detach().amax((0, 2, 3)).to(self.max_logit.dtype)
            self.max_logit.copy_(torch.maximum(self.max_logit, largest))
        return self.proj((logits.softmax(-1) @ v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers with an activation between them: ``(N, T, width)`` → the same shape."""

    def __init__(self, width: int, hidden: int, activation: str):
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.activation = _ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): ``(N, T, width)`` → the same shape."""

    def __init__(self, config: schema.ViT):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads, qk_norm=config.qk_norm)
        self.norm2 = nn.LayerNorm(config.width)
        self.mlp = MLP(config.width, max(1, round(config.mlp_ratio * config.width)), config.activation)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(Net):
    """Images ``(N, C, side, side)`` → logits ``(N, classes)``: (side / patch)² tokens, and no class token.

    Weights are undefined until :meth:`reset`. Raises RecipeError if the patches do not tile the images.
    """

    def __init__(self, config: schema.ViT, context: NetContext):
        super().__init__()
        if context.side % config.patch:
            fitting = ", ".join(str(p) for p in range(1, context.side + 1) if context.side % p == 0)
            raise RecipeError(
                f"net.patch = {config.patch}: patches of {config.patch}×{config.patch} do not tile images of "
                f"{context.side}×{context.side}; give one of {fitting}"
            )
        self.side, self.size = context.side // config.patch, config.patch
        self.patch = nn.Linear(context.channels * config.patch**2, config.width)
        self.positions = nn.Parameter(torch.empty(self.side**2, config.width))
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, context.classes)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = self.patch(self.patches(images)) + self.positions
        return self.head(self.norm(self.blocks(x)).mean(1))

    def patches(self, images: Tensor) -> Tensor:
        """Cut images ``(N, C, side, side)`` into patches ``(N, T, C · patch²)``, row by row."""
        n, channels = images.shape[:2]
        x = images.reshape(n, channels, self.side, self.size, self.side, self.size)
        return x.permute(0, 2, 4, 1, 3, 5).reshape(n, self.side**2, channels * self.size**2)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Initialise every weight from a CPU generator.

        Matrices by PyTorch's default (uniform within ±1/√fan_in), biases 0, norms 1, positions normal with standard
        deviation 0.02 (Dosovitskiy et al. 2021).
        """
        self.positions.copy_(torch.empty(self.positions.shape).normal_(0, 0.02, generator=generator))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(uniform(module.weight, module.in_features, generator))
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
                module.reset_parameters()
            elif isinstance(module, Attention):
                module.max_logit.fill_(-math.inf)


def build_vit(config: schema.ViT, context: NetContext) -> ViT:
    """Build the net that ``config`` describes."""
    return ViT(config, context)
