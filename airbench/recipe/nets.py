"""Nets, and those of their layers that have settings."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from airbench.recipe.config import Config, Count, Positive
from airbench.recipe.registry import Component, Registry

Width = Annotated[int, Field(ge=1, le=16384)]


class NetConfig(Config):
    """Settings common to all nets."""

    name: str

    @property
    def first_width(self) -> int | None:
        """Channels of the first group of layers; None for a net that does not say how it is scaled."""
        return None

    def scaled(self, share: float) -> Self:
        """Return this config with the channels of every layer multiplied by ``share``, if it has a ``first_width``."""
        raise NotImplementedError


class Whiten(Config):
    """The first layer: a frozen convolution that whitens image patches, and its bias."""

    filters: Literal["whitening", "random"] = "whitening"
    """`whitening`: computed from the patches of training images. `random`: PyTorch's initialisation."""

    frozen: bool = True
    """Freeze the filters. If false, a group of `optimizers` must match `whiten.weight`."""

    kernel: Annotated[int, Field(ge=1, le=5)] = 2
    """Side of the patches, in pixels. The layer has 2 · (image channels) · kernel² output channels."""

    eps: Positive = 5e-4
    """Added to the eigenvalues of the patch covariance before their inverse square root."""

    images: Count = 5000
    """Number of training images, from the first, whose patches the covariance is computed over."""


class BatchNorm(Config):
    """Batch normalisation, kept in float32 regardless of `engine.precision`."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """Fraction of the running statistics *kept* at each step (PyTorch's `momentum` is one minus this)."""

    eps: Positive = 1e-12
    """Added to the variance before its inverse square root."""

    train_scale: bool = False
    """Train the scale; otherwise it stays 1. The bias can always be trained."""


class Head(Config):
    """The final linear layer."""

    init: Literal["default", "unit_std"] = "unit_std"
    """`default`: PyTorch's. `unit_std`: that, divided by its standard deviation."""

    scale: Positive = 1 / 256
    """Factor on the logits."""


class CifarNet(NetConfig):
    """Whitening, then groups of convolutions, then a linear head (Jordan 2024, section 3.1)."""

    name: Literal["cifarnet"] = "cifarnet"
    """This net."""

    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=3)] = (64, 256, 256)
    """Channels of each group. Each group halves the image's side."""

    depth: Literal[2, 3] = 2
    """Convolutions in a group. The third is residual: its input is added before the last activation."""

    activation: Literal["gelu", "silu", "relu"] = "gelu"
    """The nonlinearity inside the groups. After the whitening layer it is always GELU."""

    identity_init: bool = True
    """Initialise the first `in_channels` filters of each convolution to the identity."""

    whiten: Whiten = Whiten()
    """The whitening layer."""

    final_pool: Literal["3x3", "global"] = "3x3"
    """Max-pool before the head: over 3×3 pixels, or over all that are left, so that images may be of any side. The
    same for images of 32×32 and three groups."""

    batch_norm: BatchNorm = BatchNorm()
    """Batch normalisation in the groups."""

    head: Head = Head()
    """The linear head."""

    @property
    def first_width(self) -> int:
        """Channels of the first group."""
        return self.widths[0]

    def scaled(self, share: float) -> Self:
        """Return this config with the channels of every group multiplied by ``share``."""
        return self.model_copy(update={"widths": tuple(max(1, round(share * width)) for width in self.widths)})


class ResNet18(NetConfig):
    """ResNet-18 with the stem for small images: a 3×3 convolution, no max-pool (He et al. 2016)."""

    name: Literal["resnet18"] = "resnet18"
    """This net."""

    width: Width = 64
    """Channels of the first of the four stages; each later stage has twice as many as the one before."""

    zero_init: bool = False
    """Initialise the scale of each block's last batch normalisation to 0, so that blocks start as the identity
    (Goyal et al. 2017)."""

    @property
    def first_width(self) -> int:
        """Channels of the first stage."""
        return self.width

    def scaled(self, share: float) -> Self:
        """Return this config with the channels of every stage multiplied by ``share``."""
        return self.model_copy(update={"width": max(1, round(share * self.width))})


class ViT(NetConfig):
    """A vision transformer for small images: learned positions, mean over patches (Dosovitskiy et al. 2021)."""

    name: Literal["vit"] = "vit"
    """This net."""

    patch: Annotated[int, Field(ge=1, le=256)] = 4
    """Side of a patch, in pixels. It must divide the side of the images."""

    width: Width = 192
    """Channels of a token. A multiple of `heads`."""

    depth: Annotated[int, Field(ge=1, le=64)] = 6
    """Number of blocks, each of them attention and an MLP."""

    heads: Annotated[int, Field(ge=1, le=256)] = 3
    """Attention heads of a block."""

    mlp_ratio: Annotated[float, Field(gt=0, le=64)] = 4.0
    """Hidden channels of an MLP, in units of `width`."""

    qk_norm: bool = True
    """Normalise the queries and keys of each head to root mean square 1, times a trained scale (Henry et al. 2020;
    Dehghani et al. 2023), so that attention logits cannot grow with the weights."""

    activation: Literal["gelu", "relu_squared"] = "gelu"
    """The nonlinearity of the MLPs."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} is not a multiple of heads = {self.heads}")
        return self

    @property
    def first_width(self) -> int:
        """Channels of a token."""
        return self.width

    def scaled(self, share: float) -> Self:
        """Return this config with the channels of every head multiplied by ``share``."""
        return self.model_copy(update={"width": self.heads * max(1, round(share * self.width / self.heads))})


NETS = Registry(
    "net",
    {
        "cifarnet": Component(CifarNet, "airbench.net.cifarnet:build_cifarnet"),
        "resnet18": Component(ResNet18, "airbench.net.resnet:build_resnet18"),
        "vit": Component(ViT, "airbench.net.vit:build_vit"),
    },
    default="cifarnet",
)

Net = Annotated[NetConfig, NETS]
