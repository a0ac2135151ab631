"""Selection of examples: unbiased where it drops at random, and the hardest where a proxy chooses."""

import math
from itertools import islice

import numpy as np
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
from airbench.recipe.selections import RecordedLoss
from airbench.training.flops import count_flop
from airbench.training.loop import run_trial
from airbench.training.plan import Plan
from airbench.training.results import TrialSeeds
from airbench.training.selection.proxy import train_proxy
from airbench.training.selection.recorded_loss import RecordedLossSelection, last_rows, mean_of_known, thin_out
from airbench.training.setup import TrialSetup
from tests.conftest import tiny

PROXY = "train.selection={name: proxy, keep: 0.4, net: {widths: [4, 4, 4], whiten: {images: 100}}}"
LOSSES = "train.selection={name: recorded_loss, drop: 0.3, start: 1, until: 0.8}"
SEEDS = TrialSeeds(0, 0, 0)


@given(easy=st.lists(st.booleans(), min_size=2, max_size=40), data=st.data())
def test_all_that_is_not_easy_is_kept(easy: list[bool], data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, len(easy) - 1))
    chance = torch.rand(len(easy), generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    kept, weights = thin_out(torch.tensor(easy), chance, rows)
    assert len(set(kept.tolist())) == rows
    if sum(easy) > len(easy) - rows:
        assert {i for i, yes in enumerate(easy) if not yes} <= set(kept.tolist())
        assert weights[~torch.tensor(easy)[kept]].eq(1).all()
    # The weights of the examples that are dropped go to those of their kind that are kept.
    torch.testing.assert_close(weights.sum(), torch.tensor(float(len(easy))))


@pytest.mark.parametrize("easy", [[True] * 6 + [False] * 4, [True] * 2 + [False] * 8, [True] * 10])
def test_the_expected_weight_of_every_example_is_one(easy: list[bool]) -> None:
    """The mean over the random choice of weight · kept is 1, so the expected gradient is that of the whole batch."""
    draws, generator = 20_000, torch.Generator().manual_seed(0)
    total = torch.zeros(len(easy))
    for chance in torch.rand(draws, len(easy), generator=generator):
        kept, weights = thin_out(torch.tensor(easy), chance, 7)
        total[kept] += weights
    # A weight is at most 2 here: the standard error of the mean is below 1/√draws.
    assert (total / draws - 1).abs().max() < 5 / draws**0.5


def test_batches_are_thinned_out_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    easy, chance = torch.rand(9, 20, generator=generator) < torch.arange(9)[:, None] / 8, torch.rand(9, 20)
    kept, weights = thin_out(easy, chance, 14)
    for i in range(9):
        alone = thin_out(easy[i], chance[i], 14)
        assert torch.equal(kept[i], alone[0])
        assert torch.equal(weights[i], alone[1])


def selection_of(setup: TrialSetup) -> RecordedLossSelection:
    selection = setup.selection
    assert isinstance(selection, RecordedLossSelection)
    selection.start(SEEDS)
    return selection


@pytest.mark.parametrize("last_batch", ["drop", "carry_over"])
@pytest.mark.parametrize("span", ["start: 1, until: 0.8", "start: 1.5, until: 0.5", "start: 2, until: 1"])
def test_an_epochs_choices_are_those_of_a_loop_over_its_batches(
    span: str, last_batch: str, small_shapes: Dataset, cpu: Machine
) -> None:
    """Batches of 60 of 400 images, of which 40 are left over; every image's loss is its number times the epoch's."""
    words = (f"train.selection={{name: recorded_loss, drop: 0.3, {span}}}", f"train.last_batch={last_batch}")
    recipe = tiny("airbench94_muon", *words, "train.batch_size=60", "train.epochs=4").recipe
    setup = TrialSetup(recipe, small_shapes, cpu)
    selection, losses = selection_of(setup), dict.fromkeys(range(400), math.inf)
    whole, thinned = setup.new_loader(SEEDS), setup.new_loader(SEEDS)
    generator, step = SEEDS.generator("order", "selection"), 0
    for epoch in range(1, 5):
        batches = list(whole.epoch())
        known = [loss for loss in losses.values() if loss < math.inf]
        mean, before = sum(known) / len(known) if known else math.nan, dict(losses)
        selects = any(setup.plan.at(step + i).rows < 60 for i in range(len(batches)))
        chances = [torch.rand(60, generator=generator) for _ in batches] if selects else []
        for i, (batch, part) in enumerate(zip(batches, thinned.epoch(selection.choose), strict=True)):
            rows = setup.plan.at(step).rows
            assert len(part) == rows
            if rows == 60:
                assert torch.equal(part.index, batch.index)
                assert part.weights is None or part.weights.eq(1).all()
            else:
                easy = torch.tensor([before[index] < mean for index in batch.index.tolist()])
                kept, weights = thin_out(easy, chances[i], rows)
                assert torch.equal(part.index, batch.index[kept])
                assert torch.equal(part.images, batch.images[kept])
                assert part.weights is not None
                assert torch.equal(part.weights, weights)
            selection.observe(part, epoch * part.index)
            losses |= {index: float(epoch * index) for index in part.index.tolist()}
            assert selection.losses.tolist() == list(losses.values())
            step += 1


def test_losses_are_those_of_the_last_step_that_saw_the_image(small_shapes: Dataset, cpu: Machine) -> None:
    selection = selection_of(TrialSetup(tiny("airbench94_muon", LOSSES).recipe, small_shapes, cpu))
    labels = torch.zeros(3, dtype=torch.int64)
    for images, losses in (((3, 1, 2), (0.5, 1.5, 2.5)), ((1, 4, 0), (3.5, 4.5, 5.5))):
        selection.observe(Batch(torch.zeros(3, 3, 32, 32), labels, torch.tensor(images)), torch.tensor(losses))
    assert selection.losses[:6].tolist() == [5.5, 3.5, 2.5, 0.5, 4.5, math.inf]
    selection.start(SEEDS)
    assert selection.losses.isinf().all()  # a new trial knows nothing of the one before


@given(losses=st.lists(st.floats(0, 1000, width=32), min_size=1), unknown=st.integers(0, 9))
def test_the_mean_is_that_of_the_known_losses(losses: list[float], unknown: int) -> None:
    mean = mean_of_known(torch.tensor([*losses, *[math.inf] * unknown]))
    assert mean.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_of_an_image_that_is_twice_in_a_batch_the_later_loss_is_kept(images: list[int]) -> None:
    index, memory = torch.tensor(images), torch.full((10,), 99)
    expected = [max(row for row, other in enumerate(images) if other == image) for image in images]
    assert last_rows(index, memory).tolist() == expected
    assert last_rows(index, memory).tolist() == expected  # whatever the step before has left


def test_images_carried_over_are_recorded_in_order(small_shapes: Dataset, cpu: Machine) -> None:
    carried = TrialSetup(tiny("airbench94_muon", LOSSES, "train.last_batch=carry_over").recipe, small_shapes, cpu)
    index = torch.tensor([3, 7, 3])
    carried.selection.observe(Batch(torch.zeros(3), index, index), torch.tensor([1.0, 2.0, 3.0]))
    assert carried.selection.losses[[3, 7]].tolist() == [3, 2]  # type: ignore[attr-defined]
    assert carried.selection.last is not None  # type: ignore[attr-defined]


def test_the_plan_drops_between_start_and_end() -> None:
    config = RecordedLoss(drop=0.25, start=2, until=0.5)
    rows = [config.rows_at(step, 100, 10, 1000) for step in range(100)]
    assert rows == [1000] * 20 + [750] * 30 + [1000] * 50
    with pytest.raises(RecipeError, match="in the first epoch no losses are known"):
        tiny("airbench94_muon", "train.selection={name: recorded_loss, start: 0.5}")


@pytest.mark.parametrize("selection", [PROXY, LOSSES])
def test_a_trial_selects_and_repeats(selection: str, small_shapes: Dataset, cpu: Machine) -> None:
    rows: list[int] = []
    results = []
    for _ in range(2):
        setup = TrialSetup(tiny("airbench94_muon", selection).recipe, small_shapes, cpu)
        hook = setup.net.register_forward_pre_hook(
            lambda net, inputs: rows.append(len(inputs[0])) if net.training else None
        )
        results.append(run_trial(setup, SEEDS))
        hook.remove()
    assert results[0].epochs[-1].train_loss == results[1].epochs[-1].train_loss
    expected = [20] * 16 if selection == PROXY else [50] * 8 + [35] * 5 + [50] * 3
    assert rows == 2 * expected


def test_the_proxy_sees_the_same_batches_and_takes_the_hardest(small_shapes: Dataset, cpu: Machine) -> None:
    """Against a loop written out: forward on every batch, a step on every fourth, by the 20 highest losses."""
    setup = TrialSetup(tiny("airbench94_muon", PROXY).recipe, small_shapes, cpu)
    assert setup.proxy is not None
    choices = train_proxy(setup.proxy, SEEDS, 16, 20, 4)
    other = TrialSetup(tiny("airbench94_muon", PROXY).recipe, small_shapes, cpu).proxy
    assert other is not None
    net, optimizers, loader = other.net, other.new_optimizers(), setup.new_loader(SEEDS)
    net.reset(SEEDS.generator("init", "proxy"))
    other.prepare_net()
    net.train()
    step = 0
    for _ in range(2):
        for batch in loader.epoch():
            optimizers.before_step(step)
            losses = torch.nn.functional.cross_entropy(
                net(batch.images), batch.targets, label_smoothing=0.2, reduction="none"
            )
            hardest = losses.argsort(descending=True)[:20]
            assert set(hardest.tolist()) == set(choices[step].tolist())
            if step % 4 == 0:
                losses[hardest].sum().backward()
                optimizers.step()
            step += 1
    setup.selection.start(SEEDS)
    whole, hard = setup.new_loader(SEEDS), setup.new_loader(SEEDS)
    expected = [batch for _ in range(2) for batch in whole.epoch()]
    parts = islice((part for _ in range(2) for part in hard.epoch(setup.selection.choose)), 16)
    for part, batch, rows in zip(parts, expected, choices, strict=True):
        assert torch.equal(part.index, batch.index[rows])
        assert torch.equal(part.images, batch.images[rows])
        assert part.weights is None


def test_arithmetic_of_a_selection_adds_up() -> None:
    """By hand from recipes without selection: the kept share of a step, a proxy's steps and its forward passes."""
    shape = ImageShape(32, 3, 10)
    whole = load_recipe("airbench94_muon", ["train.batch_size=1000", "train.epochs=2"]).recipe
    half = load_recipe("airbench94_muon", ["train.batch_size=500", "train.epochs=2"]).recipe
    small = load_recipe(
        "airbench94_muon", ["train.batch_size=1000", "train.epochs=2", "net={name: cifarnet, widths: [32, 64, 64]}"]
    ).recipe
    by_proxy = load_recipe(
        "airbench94_muon", ["train.batch_size=1000", "train.epochs=2", "train.selection={name: proxy, keep: 0.5}"]
    ).recipe
    steps = 100
    forward = count_flop(small, steps, 1000, shape)["evaluation"] / 6  # of six views
    expected = (
        count_flop(half, steps, 0, shape)["trial"]
        + 25 / 100 * count_flop(small, steps, 0, shape)["trial"]
        + 75 * forward
    )
    assert count_flop(by_proxy, steps, 0, shape)["trial"] == pytest.approx(expected, rel=1e-9)
    dropping = whole.model_copy(
        update={"train": whole.train.model_copy(update={"selection": RecordedLoss(drop=0.5, start=1, until=0.9)})}
    )
    full, part = (count_flop(each, steps, 0, shape)["step"] for each in (whole, half))
    assert count_flop(dropping, steps, 0, shape)["trial"] == pytest.approx(60 * full + 40 * part, rel=1e-9)


def test_a_plan_that_selects_has_a_kind_for_each_number_of_images() -> None:
    recipe = tiny("airbench94_muon", LOSSES).recipe
    plan = Plan(recipe.train, 16, 8, 32)
    assert [kind.rows for kind in plan.steps_by_kind()] == [50, 35]
    assert plan.first_steps() == [0, 8]


def test_weights_multiply_the_gradient(small_shapes: Dataset, cpu: Machine) -> None:
    setup = TrialSetup(tiny("airbench94_muon").recipe, small_shapes, cpu)
    from airbench.training.step import train_step

    class Nothing:
        def step(self) -> None: ...

    gradients = []
    for weights in (None, torch.full((50,), 3.0)):
        setup.net.reset(SEEDS.generator("init"))
        setup.prepare_net()
        batch = Batch(
            setup.train.normalized(torch.float32, 50), setup.train.labels[:50], torch.arange(50), weights=weights
        )
        train_step(setup.forward_loss(0), Nothing(), batch)  # type: ignore[arg-type]
        gradients.append(np.concatenate([p.grad.flatten() for p in setup.net.parameters() if p.grad is not None]))
        setup.net.zero_grad()
    np.testing.assert_allclose(gradients[1], 3 * gradients[0], rtol=1e-3, atol=1e-3)


def test_a_small_net_that_the_optimizers_do_not_fit_is_named(small_shapes: Dataset, cpu: Machine) -> None:
    words = "train.selection={name: proxy, net: {name: resnet18, width: 4}}"
    with pytest.raises(RecipeError, match=r"train\.selection\.net, the small net: optimizers\.whiten_bias\.params"):
        TrialSetup(tiny("airbench94_muon", words).recipe, small_shapes, cpu)
