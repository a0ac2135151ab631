"""Augmentations: random numbers are drawn on the host, an epoch at a time; images are changed on the device."""

from airbench.data.transforms.base import Crop, ImageShape, Transform, build_transforms

__all__ = ["Crop", "ImageShape", "Transform", "build_transforms"]
