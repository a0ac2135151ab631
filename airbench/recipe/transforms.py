"""Augmentations: what is done to a training image each time that it is shown."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from airbench.recipe.config import Config, NonNegative, Positive
from airbench.recipe.registry import Component, Registry

Pixels = Annotated[int, Field(ge=0, le=16)]


class TransformConfig(Config):
    """What every augmentation has in common."""

    shorthand: ClassVar[str | None] = None
    """The setting that a bare value stands for: ``translate: 2`` is ``translate: {pixels: 2}``."""

    crops: ClassVar[bool] = False
    """Whether it crops padded images. A recipe can have one augmentation that does."""

    name: str


class Flip(TransformConfig):
    """Mirror images left-right."""

    shorthand: ClassVar[str | None] = "kind"

    name: Literal["flip"] = "flip"
    """This augmentation."""

    kind: Literal["none", "random", "alternating"] = "alternating"
    """`random`: a fresh coin per image and epoch. `alternating`: a random half in epoch 0, then every image the
    other way round in every other epoch (Jordan 2024, section 3.2)."""


class Translate(TransformConfig):
    """Shift images, the border filled by reflection."""

    shorthand: ClassVar[str | None] = "pixels"
    crops: ClassVar[bool] = True

    name: Literal["translate"] = "translate"
    """This augmentation."""

    pixels: Pixels = 2
    """Shift by up to this many pixels in each direction."""


class RandomCrop(TransformConfig):
    """Crop images at a random place after padding them with the mean colour: the augmentation of standard training."""

    shorthand: ClassVar[str | None] = "padding"
    crops: ClassVar[bool] = True

    name: Literal["random_crop"] = "random_crop"
    """This augmentation."""

    padding: Pixels = 4
    """Pixels added on each side, so that a crop moves by up to as many."""


class Cutout(TransformConfig):
    """Set a square at a random place to the mean colour (DeVries & Taylor 2017)."""

    shorthand: ClassVar[str | None] = "size"

    name: Literal["cutout"] = "cutout"
    """This augmentation."""

    size: Annotated[int, Field(ge=0, le=255)] = 8
    """Side of the square, in pixels; 0 for none. It lies inside the image."""


class ColorJitter(TransformConfig):
    """Change the brightness of each image, then its contrast (Hiverge 2025)."""

    name: Literal["color_jitter"] = "color_jitter"
    """This augmentation."""

    brightness: NonNegative = 0.0
    """Add a number drawn from ± this to each normalised image. The range of pixels is about 4 such units."""

    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Then multiply the image by a number drawn from 1 ± this."""


class Mixup(TransformConfig):
    """Blend each image and its target with another of the batch (Zhang et al. 2018)."""

    shorthand: ClassVar[str | None] = "alpha"

    name: Literal["mixup"] = "mixup"
    """This augmentation."""

    alpha: Positive = 0.2
    """The share of an image is drawn from Beta(alpha, alpha)."""


class Cutmix(TransformConfig):
    """Replace a rectangle of each image, and its target in proportion, by another of the batch (Yun et al. 2019)."""

    shorthand: ClassVar[str | None] = "alpha"

    name: Literal["cutmix"] = "cutmix"
    """This augmentation."""

    alpha: Positive = 1.0
    """The share of the image that stays is drawn from Beta(alpha, alpha)."""


_ROOM = "airbench.data.transforms"

TRANSFORMS = Registry(
    "transform",
    {
        "flip": Component(Flip, f"{_ROOM}.flip:FlipTransform"),
        "translate": Component(Translate, f"{_ROOM}.crop:TranslateTransform"),
        "random_crop": Component(RandomCrop, f"{_ROOM}.crop:RandomCropTransform"),
        "cutout": Component(Cutout, f"{_ROOM}.cutout:CutoutTransform"),
        "color_jitter": Component(ColorJitter, f"{_ROOM}.color_jitter:ColorJitterTransform"),
        "mixup": Component(Mixup, f"{_ROOM}.mix:MixupTransform"),
        "cutmix": Component(Cutmix, f"{_ROOM}.mix:CutmixTransform"),
    },
)

Transform = Annotated[TransformConfig, TRANSFORMS]
