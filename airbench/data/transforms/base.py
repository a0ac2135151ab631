"""What every augmentation does: draw, then apply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.errors import RecipeError
from airbench.recipe.transforms import TRANSFORMS, TransformConfig


@dataclass(frozen=True)
class ImageShape:
    """What the factory of an augmentation knows of the images."""

    side: int
    channels: int
    classes: int


class Transform:
    """An augmentation, with the state that it needs from one epoch to the next."""

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Draw what happens to each of ``n`` images in the next epoch: ``(n, …)``. None: nothing, to any of them.

        ``generator`` is on the host, so that one seed means the same augmentation on every device.
        """
        raise NotImplementedError

    def apply(self, batch: Batch, draw: Tensor) -> Batch:
        """Return ``batch`` changed by its rows ``(B, …)`` of what was drawn, which are on its device."""
        raise NotImplementedError


class Crop(Transform):
    """An augmentation that crops padded images, which the loader does while it gathers the batch.

    What it draws are the row and column where the crop starts in the padded image, ``(n, 2)`` int64.
    """

    margin: int
    """Pixels that are added on each side."""

    def padded(self, images: Tensor, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """Pad and normalise images ``(N, H, W, C)`` uint8 → ``(N, H + 2·margin, W + 2·margin, C)``."""
        raise NotImplementedError

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Draw uniformly from all crops. Nothing is drawn where there is only one."""
        return torch.randint(0, 2 * self.margin + 1, (n, 2), generator=generator) if self.margin else None

    def apply(self, batch: Batch, draw: Tensor) -> Batch:
        """Return ``batch``: the loader cropped it already."""
        return batch


def build_transforms(configs: Mapping[str, TransformConfig], shape: ImageShape) -> list[Transform]:
    """Build the augmentations of a recipe, in order, for images of ``shape``.

    Raises RecipeError, naming the augmentation's key, if one does not fit the images.
    """
    built = []
    for key, config in configs.items():
        try:
            built.append(TRANSFORMS.build(config, shape))
        except RecipeError as error:
            raise RecipeError(f"data.augment.{key}: {error}") from None
    return built
