"""Images and augmentation."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from airbench.recipe.config import Config, Seed
from airbench.recipe.transforms import Transform


class Data(Config):
    """Which images, and how they are augmented."""

    name: Literal["cifar10", "shapes"] = "cifar10"
    """`cifar10`: 50,000 photographs in ten classes. `shapes`: drawn by the program itself, no download."""

    path: str | None = None
    """A local copy of CIFAR-10: an archive or a folder. Unset: the environment variable AIRBENCH_DATA,
    then the cache, then the official download."""

    train_images: Annotated[int, Field(ge=1)] | None = None
    """Train on the first so many images only. Unset: on all of them."""

    held_out: Annotated[int, Field(ge=1)] | None = None
    """Hold out the last so many training images and evaluate on them instead of the test images: for tuning.
    Unset: evaluate on the test images."""

    seed: Seed = 0
    """Seed of the `shapes` images. It has no effect on `cifar10`."""

    augment: dict[str, Transform] = {}  # noqa: RUF012 - pydantic copies it
    """Augmentations of the training images, applied in this order. The key names the augmentation, unless `name`
    does. `null` removes an inherited one."""

    @model_validator(mode="after")
    def _path_has_an_effect(self) -> Self:
        if self.path is not None and self.name != "cifar10":
            raise ValueError(f"path (or --data) has no effect on {self.name}, which is drawn by the program")
        return self

    @model_validator(mode="after")
    def _one_crop(self) -> Self:
        crops = [name for name, transform in self.augment.items() if transform.crops]
        if len(crops) > 1:
            raise ValueError(f"augment: {' and '.join(crops)} both crop; keep one of them")
        return self
