"""Batches: normalised, shuffled, complete, and decided by two seeds, each alone."""

from typing import Literal

import pytest
import torch

from airbench.data.batch import Batch
from airbench.data.dataset import Dataset
from airbench.data.epoch import Choice
from airbench.data.loader import Loader, normalize, to_device
from airbench.data.transforms import ImageShape, build_transforms
from airbench.recipe.transforms import ColorJitter, Cutout, Flip, RandomCrop, TransformConfig, Translate

CPU = torch.device("cpu")
LastBatch = Literal["drop", "carry_over", "keep"]

AUGMENT: dict[str, TransformConfig] = {"flip": Flip(), "translate": Translate()}


def make(
    dataset: Dataset, order: int = 0, augment: int = 0, *, batch: int = 64,
    transforms: dict[str, TransformConfig] = AUGMENT,
    mirrored: bool | None = None, last_batch: LastBatch = "drop",
) -> Loader:  # fmt: skip
    return Loader(
        to_device(dataset.train, dataset, CPU),
        build_transforms(transforms, ImageShape(32, 3, 10)),
        batch,
        torch.float32,
        order=torch.Generator().manual_seed(order),
        augment=torch.Generator().manual_seed(augment),
        mirrored=mirrored,
        last_batch=last_batch,
    )


def test_without_augmentation_an_epoch_is_a_permutation_of_the_normalised_images(small_shapes: Dataset) -> None:
    loader = make(small_shapes, batch=50, transforms={})
    batches = list(loader.epoch())
    assert len(batches) == len(loader) == 8
    images = torch.cat([batch.images for batch in batches])
    labels = torch.cat([batch.targets for batch in batches])
    raw = torch.from_numpy(small_shapes.train.images).float() / 255
    expected = ((raw - torch.tensor(small_shapes.mean)) / torch.tensor(small_shapes.std)).permute(0, 3, 1, 2)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(images, expected[order], atol=1e-5)
    assert torch.equal(labels, torch.from_numpy(small_shapes.train.labels).long()[order])


def test_batches_are_channels_last_and_the_incomplete_one_is_dropped(small_shapes: Dataset) -> None:
    batches = list(make(small_shapes, batch=150).epoch())
    assert [len(batch) for batch in batches] == [150, 150]
    assert batches[0].images.shape == (150, 3, 32, 32)
    assert batches[0].images.is_contiguous(memory_format=torch.channels_last)


def test_images_keep_their_labels_through_augmentation(small_shapes: Dataset) -> None:
    loader = make(small_shapes, transforms={})
    by_image = {
        image.numpy().tobytes(): int(label)
        for image, label in zip(loader.images.permute(0, 3, 1, 2).contiguous(), loader.labels, strict=True)
    }
    for _ in range(2):
        for batch in loader.epoch():
            assert torch.equal(loader.labels[batch.index], batch.targets)
            for image, label in zip(batch.images, batch.targets, strict=True):
                assert by_image[image.contiguous().numpy().tobytes()] == int(label)


def test_order_and_augmentation_are_each_decided_by_their_own_seed(small_shapes: Dataset) -> None:
    def first(order: int, augment: int) -> tuple[torch.Tensor, torch.Tensor]:
        batch = next(make(small_shapes, order, augment).epoch())
        return batch.images, batch.targets

    images, labels = first(0, 0)
    same_images, same_labels = first(0, 0)
    assert torch.equal(images, same_images)
    assert torch.equal(labels, same_labels)
    other_pixels, same_labels = first(0, 1)
    assert torch.equal(labels, same_labels)
    assert not torch.equal(images, other_pixels)
    _, other_labels = first(1, 0)
    assert not torch.equal(labels, other_labels)


def test_augmentation_belongs_to_the_image_not_to_its_place_in_the_order(small_shapes: Dataset) -> None:
    """Another order shows the same augmented images: the two sources of randomness are independent."""
    shown = []
    for order in (0, 1):
        batches = make(small_shapes, order, augment=7, batch=50).epoch()
        shown.append({image.contiguous().numpy().tobytes() for batch in batches for image in batch.images})
    assert shown[0] == shown[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_normalising_rounds_once(dtype: torch.dtype) -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    exact = (images.double() / 255 - mean.double()) / std.double()
    assert torch.allclose(normalize(images, mean, std, dtype).double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-6)


CROPS: list[dict[str, TransformConfig]] = [
    {},
    {"translate": Translate(pixels=2)},
    {"random_crop": RandomCrop(padding=3)},
]


@pytest.mark.parametrize("crop", CROPS, ids=["whole", "translated", "cropped"])
@pytest.mark.parametrize("kind", ["random", "alternating"])
@pytest.mark.parametrize("flip_first", [True, False])
def test_a_mirrored_copy_gives_the_same_bits(
    crop: dict[str, TransformConfig], kind: Literal["random", "alternating"], flip_first: bool, small_shapes: Dataset
) -> None:
    flip: dict[str, TransformConfig] = {"flip": Flip(kind=kind)}
    transforms = ({**flip, **crop} if flip_first else {**crop, **flip}) | {"cutout": Cutout(size=5)}
    plain, gathered = (make(small_shapes, transforms=transforms, mirrored=mirrored) for mirrored in (False, True))
    assert gathered.flip is not None
    assert plain.flip is None
    for _ in range(3):
        for one, other in zip(plain.epoch(), gathered.epoch(), strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.index, other.index)


def test_a_flip_after_another_augmentation_is_not_drawn_forward(small_shapes: Dataset) -> None:
    transforms: dict[str, TransformConfig] = {"cutout": Cutout(size=5), "flip": Flip()}
    assert make(small_shapes, transforms=transforms, mirrored=True).flip is None


class Third:
    """Chooses a third of every second batch, and all of the others; notes what it is given."""

    def __init__(self) -> None:
        self.orders: list[torch.Tensor] = []
        self.steps: list[int] = []

    def kept(self, step: int, size: int) -> list[int]:
        return list(range(step % 3, size, 3)) if step % 2 else list(range(size))

    def __call__(self, order: torch.Tensor, step: int) -> Choice:
        self.orders.append(order)
        self.steps.append(step)
        batches, size = order.shape
        kept = [self.kept(step + i, size) for i in range(batches)]
        rows = torch.tensor([i * size + row for i, of_batch in enumerate(kept) for row in of_batch])
        return Choice(rows, [len(of_batch) for of_batch in kept], rows.float())


@pytest.mark.parametrize("last_batch", ["drop", "carry_over"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_what_is_chosen_is_that_part_of_the_whole_batches(
    last_batch: LastBatch, mirrored: bool, small_shapes: Dataset
) -> None:
    """Against a loader of the same seeds that gathers everything: 400 images are 6 batches of 64, and 16 left over."""
    transforms = {**AUGMENT, "cutout": Cutout(size=5), "color_jitter": ColorJitter(brightness=0.1, contrast=0.1)}
    whole, thinned = (
        make(small_shapes, transforms=transforms, mirrored=mirrored, last_batch=last_batch) for _ in range(2)
    )
    third, shown = Third(), list[Batch]()
    for _ in range(5):
        batches = list(whole.epoch())
        chosen = list(thinned.epoch(third))
        first = torch.cat([batch.index for batch in batches])
        assert torch.equal(third.orders[len(third.steps) - 2].flatten(), first)  # the next is chosen already
        for i, (batch, part) in enumerate(zip(batches, chosen, strict=True)):
            rows = third.kept(len(shown) + i, 64)
            assert torch.equal(part.images, batch.images[rows])
            assert torch.equal(part.targets, batch.targets[rows])
            assert torch.equal(part.index, batch.index[rows])
            assert part.weights is not None
            assert part.weights.tolist() == [i * 64 + row for row in rows]
        shown += batches
    assert third.steps[:5] == ([0, 6, 12, 18, 25] if last_batch == "carry_over" else [0, 6, 12, 18, 24])


def test_carried_over_images_begin_the_next_epoch(small_shapes: Dataset) -> None:
    """Epoch after epoch every image is shown once, across the borders of batches."""
    loader = make(small_shapes, batch=150, last_batch="carry_over")
    epochs = [list(loader.epoch()) for _ in range(3)]
    assert [len(batches) for batches in epochs] == [2, 3, 3]
    shown = torch.cat([batch.index for batches in epochs for batch in batches])
    for epoch in range(3):
        assert shown[400 * epoch : 400 * (epoch + 1)].sort().values.equal(torch.arange(400))
