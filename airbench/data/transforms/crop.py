"""Random crops of padded images."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from airbench.data.transforms.base import Crop, ImageShape
from airbench.errors import RecipeError
from airbench.recipe.transforms import RandomCrop, Translate


class TranslateTransform(Crop):
    """Shift images by up to ``pixels`` each way, the border filled by reflection."""

    def __init__(self, config: Translate, shape: ImageShape):
        if config.pixels >= shape.side:
            raise RecipeError(
                f"pixels = {config.pixels}: the images are {shape.side}×{shape.side}, and reflection fills at most "
                f"{shape.side - 1} pixels"
            )
        self.margin = config.pixels

    def padded(self, images: Tensor, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """See :class:`Crop`."""
        return normalize(pad_reflect(images, self.margin))


class RandomCropTransform(Crop):
    """Crop images padded with the mean colour, which is 0 after normalisation."""

    def __init__(self, config: RandomCrop, shape: ImageShape):
        self.margin = config.padding

    def padded(self, images: Tensor, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """See :class:`Crop`."""
        return F.pad(normalize(images), (0, 0, *[self.margin] * 4))


def pad_reflect(images: Tensor, margin: int) -> Tensor:
    """``(N, H, W, C)`` → ``(N, H + 2·margin, W + 2·margin, C)``, mirrored at the border pixels.

    ``margin`` is less than H and W. Any dtype, any device: torch.nn.functional.pad reflects neither uint8 nor
    channels-last images.
    """
    if margin == 0:
        return images
    height, width = images.shape[1:3]

    def reflect(size: int) -> Tensor:
        index = torch.arange(-margin, size + margin, device=images.device).abs()
        return torch.where(index >= size, 2 * (size - 1) - index, index)

    return images.index_select(1, reflect(height)).index_select(2, reflect(width))


def crop(padded: Tensor, places: Tensor, side: int) -> Tensor:
    """Crop images of ``padded`` ``(N, H, W, C)`` at ``places`` ``(B, 3)``, image, row, column: ``(B, side, side, C)``.

    One gather, wherever they are: every possible crop is a strided view of the padded images.
    """
    image, row, column = places.unbind(1)
    windows = padded.unfold(1, side, 1).unfold(2, side, 1)  # (N, rows, columns, C, side, side)
    return windows.permute(0, 1, 2, 4, 5, 3)[image, row, column]
