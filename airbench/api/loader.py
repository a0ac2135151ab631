"""CifarLoader: CIFAR-10 on the device, batch by batch, as users of the airbench package know it."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from airbench.data.cache import warn
from airbench.data.dataset import Dataset
from airbench.data.loader import DeviceSplit, Loader, to_device
from airbench.data.sources import load_dataset
from airbench.data.transforms import ImageShape, build_transforms
from airbench.device import Machine, choose_machine, prepare
from airbench.errors import DataError
from airbench.recipe.data import Data
from airbench.recipe.engine import Engine
from airbench.recipe.transforms import Cutout, Flip, TransformConfig, Translate
from airbench.training.results import TrialSeeds

DEFAULT_PATH = "cifar10"
AUGMENTATIONS = ("flip", "translate", "cutout")


class CifarLoader:
    """Batches ``(inputs, labels)`` on the device: normalised images ``(B, 3, H, W)`` and class numbers ``(B,)``.

    ``path`` is a local copy of CIFAR-10 in any known layout; if there is nothing, the images come from where recipes
    take theirs (AIRBENCH_DATA, the cache, the official download). ``aug`` may have ``flip`` (bool), ``translate`` and
    ``cutout`` (pixels). ``drop_last`` and ``shuffle`` default to ``train``. With ``altflip`` images are flipped every
    other epoch. ``seed`` None: drawn from PyTorch's global generator.

    ``images`` (float, ``(N, 3, H, W)``, 0..1) and ``labels`` may be replaced until the first iteration.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = DEFAULT_PATH,
        train: bool = True,
        batch_size: int = 500,
        aug: dict[str, Any] | None = None,
        drop_last: bool | None = None,
        shuffle: bool | None = None,
        altflip: bool = False,
        device: str = "auto",
        seed: int | None = None,
    ):
        self.aug = dict(aug or {})
        unknown = [key for key in self.aug if key not in AUGMENTATIONS]
        if unknown:
            raise ValueError(f"aug has {', '.join(unknown)}; it may have {', '.join(AUGMENTATIONS)}")
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size}: give at least 1")
        self.train, self.batch_size, self.altflip = train, batch_size, altflip
        self.transforms()  # raises ValueError for a size out of range
        self.drop_last = train if drop_last is None else drop_last
        self.shuffle = train if shuffle is None else shuffle
        self.seed = draw_seed() if seed is None else seed
        self.machine: Machine = choose_machine(Engine(device=device))
        prepare(self.machine)
        if not Path(path).exists() and str(path) != DEFAULT_PATH:
            warn(f"{path}: no such file or folder; the images come from where recipes take theirs")
        self.dataset: Dataset = load_dataset(Data(path=str(path) if Path(path).exists() else None))
        self.classes = self.dataset.classes
        split = self.dataset.train if train else self.dataset.test
        self.split: DeviceSplit = to_device(split, self.dataset, self.machine.device)
        """The images as uint8, or what replaced them as floats, on the scale 0..255, ``(N, H, W, 3)``."""
        self._images: Tensor | None = None
        self._version = -1
        self._iterating: Loader | None = None
        self._shown = 0
        self.trainings: dict[str, Any] = {}
        """The latest training on these images, by recipe, so that a second one does not compile again."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    @property
    def epoch(self) -> int:
        """Epochs that were begun. Setting it to 0 starts anew, with the same random choices."""
        return self._shown

    @epoch.setter
    def epoch(self, value: int) -> None:
        if value != 0:
            raise ValueError("epoch can only be set to 0, to start anew")
        self._shown, self._iterating = 0, None

    @property
    def images(self) -> Tensor:
        """All images, not normalised: float32 ``(N, 3, H, W)``, 0..1."""
        if self._images is None:
            self._images = (self.split.images.float() / 255).permute(0, 3, 1, 2)
            self._version = self._images._version
        return self._images

    @images.setter
    def images(self, images: Tensor) -> None:
        self._check_not_begun("images")
        if not images.is_floating_point() or images.ndim != 4 or images.shape[1:] != self._shape():
            shape = "×".join(map(str, self._shape()))
            raise DataError(
                f"loader.images: {images.dtype} of shape {tuple(images.shape)}; give floats from 0 to 1, N×{shape}"
            )
        self._images, self._version = images.to(self.machine.device).float(), -1

    def _shape(self) -> tuple[int, int, int]:
        """Return channels, height and width of an image."""
        _, height, width, channels = self.split.images.shape
        return channels, height, width

    @property
    def labels(self) -> Tensor:
        """Class numbers ``(N,)`` int64."""
        return self.split.labels

    @labels.setter
    def labels(self, labels: Tensor) -> None:
        self._check_not_begun("labels")
        self.split = replace(self.split, labels=labels.to(self.machine.device, torch.int64))

    def _check_not_begun(self, what: str) -> None:
        if self._iterating is not None:
            raise DataError(f"loader.{what} cannot be replaced after iteration has begun; make another loader")

    def normalize(self, images: Tensor) -> Tensor:
        """Normalise images ``(N, 3, H, W)`` on the scale 0..1 by the training images' mean and standard deviation."""
        mean, std = self.split.mean[:, None, None], self.split.std[:, None, None]
        return ((images.float() - mean) / std).to(self.machine.dtype, memory_format=torch.channels_last)

    def current_split(self) -> DeviceSplit:
        """Return images and labels as they are now, with replacements, for a training."""
        if self._images is not None and self._images._version != self._version:  # replaced, or changed in place
            self.split = replace(self.split, images=(self._images * 255).permute(0, 2, 3, 1).contiguous())
        images, labels = len(self.split.images), len(self.split.labels)
        if images != labels:
            raise DataError(f"loader: {images} images but {labels} labels; replace both")
        if labels and not 0 <= int(self.split.labels.min()) <= int(self.split.labels.max()) < len(self.classes):
            raise DataError(f"loader.labels: class numbers must lie in 0..{len(self.classes) - 1}")
        return self.split

    def transforms(self) -> dict[str, TransformConfig]:
        """Return the augmentations as a recipe names them."""
        found: dict[str, TransformConfig] = {}
        if self.aug.get("flip"):
            found["flip"] = Flip(kind="alternating" if self.altflip else "random")
        if self.aug.get("translate"):
            found["translate"] = Translate(pixels=self.aug["translate"])
        if self.aug.get("cutout"):
            found["cutout"] = Cutout(size=self.aug["cutout"])
        return found

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches of the next epoch."""
        if self._iterating is None:
            self._iterating = self._begin()
        self._shown += 1
        for batch in self._iterating.epoch():
            yield batch.images, batch.targets

    def _begin(self) -> Loader:
        split, seeds = self.current_split(), TrialSeeds(self.seed, self.seed, self.seed)
        shape = ImageShape(split.images.shape[1], split.images.shape[3], len(self.classes))
        return Loader(
            split,
            build_transforms(self.transforms(), shape),
            self.batch_size,
            self.machine.dtype,
            order=seeds.generator("order"),
            augment=seeds.generator("augment"),
            last_batch="drop" if self.drop_last else "keep",
            shuffle=self.shuffle,
        )


def draw_seed() -> int:
    """Draw a seed from PyTorch's global generator, which torch.manual_seed sets."""
    return int(torch.randint(2**31, ()))
