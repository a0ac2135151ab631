"""Augmentations of the training images, drawn anew in each epoch."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from airbench.recipe.config import Config, NonNegative, Positive
from airbench.recipe.registry import Component, Registry

Pixels = Annotated[int, Field(ge=0, le=16)]


class TransformConfig(Config):
    """Settings common to all augmentations."""

    shorthand: ClassVar[str | None] = None
    """The setting that a bare value sets: ``translate: 2`` is ``translate: {pixels: 2}``."""

    crops: ClassVar[bool] = False
    """Whether it crops padded images. A recipe can have at most one such augmentation, which comes first."""

    before_crop: ClassVar[bool] = False
    """Whether it may come before a crop all the same: where it stands changes nothing."""

    name: str


class Flip(TransformConfig):
    """Flip images horizontally."""

    shorthand: ClassVar[str | None] = "kind"
    before_crop: ClassVar[bool] = True

    name: Literal["flip"] = "flip"
    """This augmentation."""

    kind: Literal["none", "random", "alternating"] = "alternating"
    """`random`: flip each image with probability 1/2 in each epoch. `alternating`: flip a random half in epoch 0, then
    flip every image relative to the epoch before (Jordan 2024, section 3.2)."""


class Translate(TransformConfig):
    """Shift images, filling the border by reflection."""

    shorthand: ClassVar[str | None] = "pixels"
    crops: ClassVar[bool] = True

    name: Literal["translate"] = "translate"
    """This augmentation."""

    pixels: Pixels = 2
    """Shift by up to this many pixels in each direction."""


class RandomCrop(TransformConfig):
    """Pad images with the mean colour and crop them at a random position: the standard CIFAR augmentation."""

    shorthand: ClassVar[str | None] = "padding"
    crops: ClassVar[bool] = True

    name: Literal["random_crop"] = "random_crop"
    """This augmentation."""

    padding: Pixels = 4
    """Pixels of padding on each side, and so the maximum shift."""


class Cutout(TransformConfig):
    """Set a square at a random position to the mean colour (DeVries & Taylor 2017)."""

    shorthand: ClassVar[str | None] = "size"

    name: Literal["cutout"] = "cutout"
    """This augmentation."""

    size: Annotated[int, Field(ge=0, le=255)] = 8
    """Side of the square, in pixels; 0 for none. The square lies inside the image."""


class ColorJitter(TransformConfig):
    """Change the brightness of each image, then its contrast (Hiverge 2025)."""

    name: Literal["color_jitter"] = "color_jitter"
    """This augmentation."""

    brightness: NonNegative = 0.0
    """Maximum absolute value of the random number added to each normalised image, whose pixels span about 4 units."""

    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Then multiply the image by a random number in 1 ± this."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set & {"brightness", "contrast"}:  # a sweep may give 0
            raise ValueError("give brightness, contrast or both: without them nothing changes")
        return self


class Mixup(TransformConfig):
    """Blend each image and its target with another from the batch (Zhang et al. 2018)."""

    shorthand: ClassVar[str | None] = "alpha"

    name: Literal["mixup"] = "mixup"
    """This augmentation."""

    alpha: Positive = 0.2
    """The weight of an image is drawn from Beta(alpha, alpha)."""


class Cutmix(TransformConfig):
    """Replace a rectangle of each image, and its target in proportion, by another from the batch (Yun et al. 2019)."""

    shorthand: ClassVar[str | None] = "alpha"

    name: Literal["cutmix"] = "cutmix"
    """This augmentation."""

    alpha: Positive = 1.0
    """The fraction of the image that is kept is drawn from Beta(alpha, alpha)."""


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
