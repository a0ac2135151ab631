"""Images and augmentation."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import model_validator

from airbench.recipe.config import Config, Count, Seed
from airbench.recipe.registry import Names
from airbench.recipe.transforms import Transform

if TYPE_CHECKING:
    from airbench.data.catalog import DatasetSpec

DATASETS: "Names[DatasetSpec]" = Names(
    "data set",
    {
        "cifar10": "airbench.data.catalog:CIFAR10",
        "cifar100": "airbench.data.catalog:CIFAR100",
        "folder": "airbench.data.catalog:FOLDER",
        "shapes": "airbench.data.catalog:SHAPES",
    },
)


class Data(Config):
    """Which images to use, and how to augment them."""

    name: Annotated[str, DATASETS] = "cifar10"
    """`cifar10`, `cifar100`: 50,000 photographs in 10 and in 100 classes. `folder`: your own images, as
    train/CLASS/*.png and test/CLASS/*.png under `path`. `shapes`: synthetic images drawn by airbench, no download."""

    path: str | None = None
    """A local copy of the images: an archive or a folder. Unset: the environment variable AIRBENCH_DATA,
    then the cache, then the official download. Required for `folder`."""

    train_images: Count | None = None
    """Train on only the first `train_images` images. Unset: all of them."""

    subset: str | None = None
    """Train on the images listed in this file, .txt with one position per line or .npy; they count from 0, in the order
    in which predictions are kept. Unset: all of them."""

    held_out: Count | None = None
    """For tuning: hold out this many training images, the last ones, and evaluate on them instead of on the test
    images. Unset: evaluate on the test images."""

    seed: Seed = 0
    """Seed of the `shapes` images; no effect on other data sets."""

    augment: dict[str, Transform] = {}  # noqa: RUF012 - pydantic copies it
    """Augmentations of the training images, applied in this order; a crop (`translate`, `random_crop`) comes before all
    but `flip`. The key names the augmentation, unless `name` is given. `null` removes an inherited one."""

    @model_validator(mode="after")
    def _path_fits_name(self) -> Self:
        if self.path is not None and self.name == "shapes":
            raise ValueError(f"path (or --data) has no effect on {self.name}, whose images are synthetic; leave it out")
        if self.path is None and self.name == "folder":
            raise ValueError("name = folder needs path (or --data): the folder that holds train/ and test/")
        return self

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.subset is not None and self.train_images is not None:
            raise ValueError("train_images and subset both choose training images; give one of them")
        return self

    @model_validator(mode="after")
    def _one_crop(self) -> Self:
        crops = [name for name, transform in self.augment.items() if transform.crops]
        if len(crops) > 1:
            raise ValueError(f"augment: {' and '.join(crops)} both crop; keep one of them")
        return self

    @model_validator(mode="after")
    def _crop_comes_first(self) -> Self:
        earlier: list[str] = []
        for name, transform in self.augment.items():
            if transform.crops and earlier:
                raise ValueError(f"augment: images are cropped first; put {name} before {' and '.join(earlier)}")
            earlier += [] if transform.before_crop else [name]
        return self
