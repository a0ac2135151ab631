"""Crops, mirrors and cutouts equal a naive loop over images for the same draws."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from airbench.data.augment import AugmentationStream, crop, cut_out, mirror, pad_reflect, recolour
from airbench.recipe.schema import Augment


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("margin", [0, 1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_padding_equals_pytorchs_reflection(margin: int, dtype: torch.dtype) -> None:
    images = torch.randint(0, 256, (3, 8, 9, 3)).to(dtype)
    expected = F.pad(images.float().permute(0, 3, 1, 2), (margin,) * 4, mode="reflect").permute(0, 2, 3, 1)
    assert torch.equal(pad_reflect(images, margin).float(), expected)


@settings(max_examples=25)
@given(st.integers(0, 4), st.integers(0, 6), st.integers(1, 12), st.integers(0, 2**30))
def test_batch_equals_a_loop_over_images(margin: int, hole: int, count: int, seed: int) -> None:
    g, side = generator(seed), 8
    images = torch.randn(10, side, side, 3, generator=g)
    index = torch.randint(0, 10, (count,), generator=g)
    shift = torch.randint(0, 2 * margin + 1, (count, 2), generator=g)
    flip = torch.randint(0, 2, (count,), generator=g).bool()
    corner = torch.randint(0, side - hole + 1, (count, 2), generator=g)
    padded = pad_reflect(images, margin)
    batch = cut_out(mirror(crop(padded, index, shift, side), flip), corner, hole)
    for b in range(count):
        y, x = shift[b].tolist()
        image = padded[int(index[b]), y : y + side, x : x + side].clone()
        if flip[b]:
            image = image.flip(1)
        row, column = corner[b].tolist()
        image[row : row + hole, column : column + hole] = 0
        assert torch.equal(batch[b], image)


def flips(kind: str, epochs: int) -> list[torch.Tensor]:
    stream = AugmentationStream(Augment(flip=kind), 1000, 32, generator())  # type: ignore[arg-type]
    return [stream.draw(epoch).flip for epoch in range(epochs)]


def test_alternating_flip_shows_each_image_both_ways_in_any_two_consecutive_epochs() -> None:
    drawn = flips("alternating", 6)
    for one, next_one in pairwise(drawn):
        assert torch.equal(one, ~next_one)
    assert 400 < int(drawn[0].sum()) < 600


def test_random_flip_is_a_fresh_coin_and_none_is_none() -> None:
    drawn = flips("random", 3)
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], ~drawn[1])
    assert not any(f.any() for f in flips("none", 3))


def test_shifts_and_holes_cover_exactly_what_they_may() -> None:
    stream = AugmentationStream(Augment(translate=2, cutout=30), 5000, 32, generator())
    draws = stream.draw(0)
    assert draws.shift.unique().tolist() == [0, 1, 2, 3, 4]
    assert draws.hole.unique().tolist() == [0, 1, 2]


def test_colours_are_drawn_evenly_from_their_ranges() -> None:
    draws = AugmentationStream(Augment(brightness=0.2, contrast=0.5), 20_000, 32, generator()).draw(0).colour
    for column, (low, high) in enumerate([(-0.2, 0.2), (0.5, 1.5)]):
        values = draws[:, column]
        assert low <= values.min() < low + 0.001
        assert high - 0.001 < values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.01)
    assert torch.corrcoef(draws.T)[0, 1].abs() < 0.03


def test_colours_that_are_not_asked_for_draw_nothing() -> None:
    one, other = generator(), generator()
    assert torch.equal(
        AugmentationStream(Augment(), 5, 32, one).draw(0).shift,
        AugmentationStream(Augment(), 5, 32, other).draw(0).shift,
    )
    assert torch.equal(one.get_state(), other.get_state())
    colour = AugmentationStream(Augment(), 5, 32, generator()).draw(0).colour
    assert colour.tolist() == [[0, 1]] * 5


def test_recolour_equals_a_loop_over_images() -> None:
    images, colour = torch.randn(4, 8, 8, 3), torch.randn(4, 2)
    found = recolour(images, colour)
    for image, (added, factor), out in zip(images, colour, found, strict=True):
        assert torch.equal(out, (image + added) * factor)
    half = recolour(images.bfloat16(), colour)
    assert half.dtype == torch.bfloat16
