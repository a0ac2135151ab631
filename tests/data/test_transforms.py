"""Augmentations equal a naive loop over images for the same draws."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from airbench.data.batch import Batch
from airbench.data.transforms import ImageShape, Transform, build_transforms
from airbench.data.transforms.crop import crop, pad_reflect
from airbench.errors import RecipeError
from airbench.recipe import transforms as schema

SIDE, CLASSES = 8, 5
SHAPE = ImageShape(SIDE, 3, CLASSES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(config: schema.TransformConfig, shape: ImageShape = SHAPE) -> Transform:
    (transform,) = build_transforms({"it": config}, shape)
    return transform


def batch(count: int = 6, seed: int = 0) -> Batch:
    g = generator(seed)
    images = torch.randn(count, 3, SIDE, SIDE, generator=g).contiguous(memory_format=torch.channels_last)
    return Batch(images, torch.randint(0, CLASSES, (count,), generator=g), torch.arange(count))


def drawn(transform: Transform, count: int, seed: int = 0) -> Tensor:
    draw = transform.draw(count, generator(seed))
    assert draw is not None
    return draw


@pytest.mark.parametrize("margin", [0, 1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_padding_equals_pytorchs_reflection(margin: int, dtype: torch.dtype) -> None:
    images = torch.randint(0, 256, (3, 8, 9, 3)).to(dtype)
    expected = F.pad(images.float().permute(0, 3, 1, 2), (margin,) * 4, mode="reflect").permute(0, 2, 3, 1)
    assert torch.equal(pad_reflect(images, margin).float(), expected)


@settings(max_examples=25)
@given(st.integers(0, 4), st.integers(1, 12), st.integers(0, 2**30))
def test_crop_equals_a_loop_over_images(margin: int, count: int, seed: int) -> None:
    g = generator(seed)
    padded = torch.randn(10, SIDE + 2 * margin, SIDE + 2 * margin, 3, generator=g)
    index = torch.randint(0, 10, (count,), generator=g)
    corner = torch.randint(0, 2 * margin + 1, (count, 2), generator=g)
    found = crop(padded, torch.cat([index[:, None], corner], 1), SIDE)
    for b in range(count):
        y, x = corner[b].tolist()
        assert torch.equal(found[b], padded[int(index[b]), y : y + SIDE, x : x + SIDE])


@pytest.mark.parametrize("config", [schema.Translate(pixels=2), schema.RandomCrop(padding=2)])
def test_crops_start_anywhere_in_the_padded_image(config: schema.TransformConfig) -> None:
    assert drawn(build(config), 5000).unique().tolist() == [0, 1, 2, 3, 4]


def test_random_crop_pads_with_the_mean_colour() -> None:
    transform = build(schema.RandomCrop(padding=3))
    images = torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8)
    padded = transform.padded(images, lambda x: x.float() + 1)  # type: ignore[attr-defined]
    assert padded.shape == (2, SIDE + 6, SIDE + 6, 3)
    assert torch.equal(padded[:, 3:-3, 3:-3], images.float() + 1)
    padded[:, 3:-3, 3:-3] = 0
    assert not padded.any()


def flips(kind: str, epochs: int) -> list[Tensor]:
    transform, g = build(schema.Flip(kind=kind)), generator()  # type: ignore[arg-type]
    return [draw for _ in range(epochs) if (draw := transform.draw(1000, g)) is not None]


def test_alternating_flip_shows_each_image_both_ways_in_any_two_consecutive_epochs() -> None:
    found = flips("alternating", 6)
    for one, next_one in pairwise(found):
        assert torch.equal(one, ~next_one)
    assert 400 < int(found[0].sum()) < 600


def test_random_flip_is_a_fresh_coin_and_none_is_none() -> None:
    found = flips("random", 3)
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], ~found[1])
    assert flips("none", 3) == []


def test_flip_mirrors_the_images_whose_draw_is_true() -> None:
    transform, original = build(schema.Flip(kind="random")), batch()
    draw = drawn(transform, 6)
    changed = transform.apply(original, draw)
    assert changed.images.is_contiguous(memory_format=torch.channels_last)
    for image, flip, before in zip(changed.images, draw, original.images, strict=True):
        assert torch.equal(image, before.flip(2) if flip else before)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_cutout_equals_a_loop_over_images(size: int) -> None:
    transform, original = build(schema.Cutout(size=size)), batch()
    draw = drawn(transform, 6)
    changed = transform.apply(original, draw)
    for image, (row, column), before in zip(changed.images, draw.tolist(), original.images, strict=True):
        expected = before.clone()
        expected[:, row : row + size, column : column + size] = 0
        assert torch.equal(image, expected)


def test_holes_lie_inside_the_image() -> None:
    assert drawn(build(schema.Cutout(size=6)), 5000).unique().tolist() == [0, 1, 2]
    with pytest.raises(RecipeError, match=r"data\.augment\.it: size = 9: the images are 8×8; give at most 8"):
        build(schema.Cutout(size=9))


def test_a_shift_by_more_than_reflection_can_fill_is_refused() -> None:
    build(schema.Translate(pixels=7))
    for pixels in (8, 14, 15, 16):
        with pytest.raises(RecipeError, match=rf"augment\.it: pixels = {pixels}: .* 8×8, .* at most 7"):
            build(schema.Translate(pixels=pixels))
    build(schema.RandomCrop(padding=16))


def test_colors_are_drawn_evenly_from_their_ranges() -> None:
    draws = drawn(build(schema.ColorJitter(brightness=0.2, contrast=0.5)), 20_000)
    for column, (low, high) in enumerate([(-0.2, 0.2), (0.5, 1.5)]):
        values = draws[:, column]
        assert low <= values.min() < low + 0.001
        assert high - 0.001 < values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.01)
    assert torch.corrcoef(draws.T)[0, 1].abs() < 0.03


def test_color_jitter_equals_a_loop_over_images() -> None:
    transform, original = build(schema.ColorJitter(brightness=0.2, contrast=0.5)), batch()
    draw = drawn(transform, 6)
    changed = transform.apply(original, draw)
    for image, (added, factor), before in zip(changed.images, draw, original.images, strict=True):
        assert torch.equal(image, (before + added) * factor)


@pytest.mark.parametrize("nothing", [schema.Translate(pixels=0), schema.Cutout(size=0), schema.ColorJitter(contrast=0)])
def test_what_changes_nothing_draws_nothing(nothing: schema.TransformConfig) -> None:
    g = generator()
    assert build(nothing).draw(100, g) is None
    assert torch.equal(g.get_state(), generator().get_state())


def one_hot(labels: Tensor) -> Tensor:
    return torch.eye(CLASSES)[labels]


def test_mixup_blends_images_and_targets_alike() -> None:
    transform, original = build(schema.Mixup(alpha=0.5)), batch()
    draw = drawn(transform, 6)
    changed = transform.apply(original, draw)
    own = one_hot(original.targets)
    for i, share in enumerate(draw):
        blend = share * original.images[i] + (1 - share) * original.images[i - 1]
        assert torch.allclose(changed.images[i], blend)
        assert torch.allclose(changed.targets[i], share * own[i] + (1 - share) * own[i - 1])
    assert torch.equal(changed.index, original.index)


def test_cutmix_gives_targets_the_shares_of_the_pixels() -> None:
    transform = build(schema.Cutmix())
    original = batch()
    marked = Batch(torch.arange(6.0).reshape(6, 1, 1, 1).expand(6, 3, SIDE, SIDE), original.targets, original.index)
    changed = transform.apply(marked, drawn(transform, 6))
    own = one_hot(original.targets)
    for i, image in enumerate(changed.images):
        assert set(image.unique().tolist()) <= {float(i), float((i - 1) % 6)}
        share = (image == i).float().mean()
        assert torch.allclose(changed.targets[i], share * own[i] + (1 - share) * own[i - 1], atol=1e-6)
        inside = (image[0] != i).nonzero()
        if len(inside):  # a rectangle: as many pixels as its sides say
            height, width = (inside.amax(0) - inside.amin(0) + 1).tolist()
            assert height * width == len(inside)


@pytest.mark.parametrize("config", [schema.Mixup(alpha=0.2), schema.Cutmix(alpha=1.0)])
def test_mixed_targets_are_probabilities_and_mixing_twice_works(config: schema.TransformConfig) -> None:
    transform, twice = build(config), batch(32)
    for seed in range(2):
        twice = transform.apply(twice, drawn(transform, 32, seed))
    assert twice.targets.shape == (32, CLASSES)
    assert torch.allclose(twice.targets.sum(1), torch.ones(32))
    assert twice.targets.min() >= 0


def test_shares_of_mixup_have_the_moments_of_the_beta_distribution() -> None:
    draws = drawn(build(schema.Mixup(alpha=0.4)), 50_000)
    assert draws.mean().item() == pytest.approx(0.5, abs=0.01)
    assert draws.var().item() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.02)
