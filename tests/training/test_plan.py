"""The plan of a training: which step has which images, what shrinking does, and what it costs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from airbench.data.batch import Batch
from airbench.data.dataset import Dataset
from airbench.data.transforms import ImageShape
from airbench.device import Machine
from airbench.errors import RecipeError
from airbench.recipe import load_recipe
from airbench.recipe.schema import Stage, Train
from airbench.training.flops import count_flop
from airbench.training.loop import run_trial
from airbench.training.plan import Plan, shrink
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup
from tests.conftest import CONFIGS, tiny

SHAPE = ImageShape(32, 3, 10)
THREE = "train.resolution=[{side: 16, until: 0.2}, {side: 24, until: 0.5}]"


def test_a_pixel_is_the_mean_of_those_that_it_touches() -> None:
    images = torch.arange(8.0).expand(1, 1, 8, 8)  # a ramp along each row
    expected = torch.tensor([0.5, 1.5, 2.5, 4.5, 5.5, 6.5])  # 8 → 6: pixel i touches ⌊8i/6⌋ to ⌈8(i+1)/6⌉ - 1
    torch.testing.assert_close(shrink(images, 6)[0, 0], expected.expand(6, 6))


@given(side=st.integers(1, 6), factor=st.integers(1, 4), seed=st.integers(0, 100))
def test_shrinking_by_a_whole_factor_averages_blocks(side: int, factor: int, seed: int) -> None:
    images = torch.randn(2, 3, side * factor, side * factor, generator=torch.Generator().manual_seed(seed))
    blocks = images.reshape(2, 3, side, factor, side, factor).mean((3, 5))
    small = shrink(images.contiguous(memory_format=torch.channels_last), side)
    torch.testing.assert_close(small, blocks)
    assert small.is_contiguous(memory_format=torch.channels_last)


@given(ends=st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True), steps=st.integers(1, 300))
def test_every_step_has_the_resolution_of_its_stage(ends: list[int], steps: int) -> None:
    stages = [Stage(side=8 + 4 * i, until=end / 100) for i, end in enumerate(sorted(ends))]
    plan = Plan(Train(resolution=tuple(stages)), steps, steps, 32)
    kinds = [plan.at(step) for step in range(steps)]
    sides = [kind.side for kind in kinds]
    assert sides == sorted(sides)
    assert {kind: kinds.count(kind) for kind in kinds} == plan.steps_by_kind()
    assert [kinds.index(kind) for kind in dict.fromkeys(kinds)] == plan.first_steps()
    for stage in stages:
        assert sum(side <= stage.side for side in sides) == round(stage.until * steps)


def test_a_batch_at_full_size_is_left_as_it_is() -> None:
    batch = Batch(torch.randn(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64), torch.arange(2))
    plan = Plan(Train(resolution=(Stage(side=16, until=0.5),)), 10, 10, 32)
    assert plan.sized(batch, 5) is batch
    assert plan.sized(batch, 4).images.shape == (2, 3, 16, 16)


def test_arithmetic_of_three_stages_adds_up() -> None:
    """By hand: multiply-adds of every layer at each side, times 3 for the two gradients where there are both.

    The whitening bias freezes after the second stage, from when the first filters pass no gradient on.
    """
    recipe = load_recipe(
        CONFIGS / "records" / "airbench94_muon.yaml",
        [THREE, "net.final_pool=global", "train.epochs=1", "optimizers.whiten_bias.train_epochs=0.48"],
    ).recipe
    flat = recipe.model_copy(update={"train": recipe.train.model_copy(update={"resolution": ()})})
    batch, steps = recipe.train.batch_size, 25

    def step_flop(side: int, *, frozen: bool) -> int:
        first = side - 1
        sides = (first, first // 2, first // 2, first // 4, first // 4, first // 8)
        sides = (first, *(side for side in (first // 2, first // 4) for _ in range(2)), first // 8)
        channels = [(24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256)]
        convs = sum(2 * 9 * i * o * s**2 for (i, o), s in zip(channels, sides, strict=True))
        head = 2 * 256 * 10
        # The first layer is frozen: forward, and no gradients of weights (its bias takes no products).
        saved = 2 * 9 * 24 * 64 * first**2 if frozen else 0
        return batch * (2 * 3 * 4 * 24 * first**2 + 3 * convs + 3 * head - saved)

    at_32 = 12 * step_flop(32, frozen=False) + 13 * step_flop(32, frozen=True)
    muon = (count_flop(flat, steps, 0, SHAPE)["trial"] - at_32) / steps
    assert 0 < muon < 0.01 * step_flop(32, frozen=True)
    expected = 5 * step_flop(16, frozen=False) + 7 * step_flop(24, frozen=False) + 13 * step_flop(32, frozen=True)
    expected += steps * muon
    kinds = Plan(recipe.train, steps, 25, 32).steps_by_kind()
    assert {kind.side: count for kind, count in kinds.items()} == {16: 5, 24: 7, 32: 13}
    assert count_flop(recipe, steps, 0, SHAPE)["trial"] == pytest.approx(expected, rel=1e-9)


def test_a_net_trains_through_the_stages(small_shapes: Dataset, cpu: Machine) -> None:
    setup = TrialSetup(tiny("airbench94_muon.yaml", THREE, "net.final_pool=global").recipe, small_shapes, cpu)
    seen: list[int] = []
    setup.net.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0].shape[-1]) if net.training else None)
    result = run_trial(setup, TrialSeeds(0, 0, 0))
    assert seen == [16] * 3 + [24] * 5 + [32] * 8
    assert result.steps == 16


def test_a_global_pool_is_the_3x3_pool_on_images_of_32(small_shapes: Dataset, cpu: Machine) -> None:
    results = [
        run_trial(TrialSetup(tiny("airbench94_muon.yaml", *words).recipe, small_shapes, cpu), TrialSeeds(0, 0, 0))
        for words in ((), ("net.final_pool=global",))
    ]
    assert results[0].epochs[-1].train_loss == results[1].epochs[-1].train_loss


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("train.resolution=[{side: 24, until: 0.5}]",), "the net does not take images of 24×24; .*final_pool=global"),
        (("train.resolution=[{side: 40, until: 0.5}]", "net.final_pool=global"), "side 40 is larger"),
        (("train.resolution=[{side: 4, until: 0.5}]", "net.final_pool=global"), "does not take images of 4×4"),
    ],
)
def test_stages_that_do_not_fit(words: tuple[str, ...], why: str, small_shapes: Dataset, cpu: Machine) -> None:
    with pytest.raises(RecipeError, match=why):
        TrialSetup(tiny("airbench94_muon.yaml", *words).recipe, small_shapes, cpu)


def test_stages_out_of_order_are_refused() -> None:
    with pytest.raises(RecipeError, match="each stage must end after the one before it"):
        tiny("airbench94_muon.yaml", "train.resolution=[{side: 24, until: 0.5}, {side: 16, until: 0.2}]")


def test_a_plan_in_words() -> None:
    recipe = load_recipe("airbench94_muon", ["train.resolution=[{side: 24, until: 0.5}]", "train.epochs=4"]).recipe
    plan = Plan(recipe.train, 100, 25, 32)
    assert plan.describe() == "50 steps of 2000 images, at 24×24; 50 steps of 2000 images"
    words = [
        "train.selection={name: recorded_loss, drop: 0.25, start: 2, until: 0.8}",
        "train.label_smoothing_until=0.8",
    ]
    plan = Plan(load_recipe("airbench94_muon", words).recipe.train, 100, 25, 32)
    assert plan.describe() == (
        "50 steps of 2000 images; 30 steps of 2000 images, of which 1500 are trained on; "
        "20 steps of 2000 images, without label smoothing"
    )
    assert Plan(load_recipe("airbench94").recipe.train, 100, 25, 32).describe() == "100 steps of 1024 images"
