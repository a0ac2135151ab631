"""How many steps there are, which images they show, and when labels are smooth."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from airbench.data.dataset import Dataset
from airbench.device import Machine
from airbench.recipe.schema import Train
from airbench.training.loop import run_trial
from airbench.training.plan import Plan
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup
from tests.conftest import tiny

SEEDS = TrialSeeds(0, 0, 0)


def test_batches_that_cross_epochs_show_every_image_once_per_epoch(small_shapes: Dataset, cpu: Machine) -> None:
    """400 images in batches of 60: after 20 batches, three epochs have been shown, each image once in each."""
    setup = TrialSetup(
        tiny("airbench94_muon", "train.batch_size=60", "train.last_batch=carry_over", "train.epochs=3").recipe,
        small_shapes,
        cpu,
    )
    assert (setup.steps_per_epoch, setup.total_steps) == (400 / 60, 20)
    loader, seen, lengths = setup.new_loader(SEEDS), list[int](), list[int]()
    for _ in range(3):
        batches = list(loader.epoch())
        lengths.append(len(batches))
        for batch in batches:
            assert len(batch.images) == len(batch.targets) == 60
            assert torch.equal(batch.targets, setup.train.labels[batch.index])
            seen += batch.index.tolist()
    assert lengths == [6, 7, 7]
    for epoch in range(3):
        assert sorted(seen[400 * epoch : 400 * (epoch + 1)]) == list(range(400))


def test_images_carried_over_are_augmented_as_their_own_epoch_says(small_shapes: Dataset, cpu: Machine) -> None:
    """With alternating flips alone, an image's two epochs show it and its mirror image, whichever batch it is in."""
    recipe = tiny("airbench94_muon", "train.batch_size=60", "train.last_batch=carry_over", "data.augment.translate=0")
    for mirrored in (False, True):
        setup = TrialSetup(recipe.recipe, small_shapes, cpu)
        loader = setup.new_loader(SEEDS)
        if mirrored:
            loader = type(loader)(
                setup.train, loader.transforms, 60, torch.float32, SEEDS.generator("order"),
                SEEDS.generator("augment"), mirrored=True, last_batch="carry_over",
            )  # fmt: skip
        seen: list[tuple[int, torch.Tensor]] = []
        for _ in range(3):
            for batch in loader.epoch():
                seen += list(zip(batch.index.tolist(), batch.images, strict=True))
        first, second = dict(seen[:400]), dict(seen[400:800])
        assert all(torch.equal(image, second[index].flip(2)) for index, image in first.items())


def test_a_trial_with_batches_that_cross_epochs_ends_where_it_should(small_shapes: Dataset, cpu: Machine) -> None:
    words = ("train.batch_size=60", "train.last_batch=carry_over", "train.epochs=2.5")
    result = run_trial(TrialSetup(tiny("airbench94_muon", *words).recipe, small_shapes, cpu), SEEDS)
    assert result.steps == 17  # 2.5 · 400 / 60, rounded up
    assert [row.epoch for row in result.epochs] == [0.9, 1.95, 2.55]


def test_the_expected_number_of_epochs_is_exact_if_steps_are_rounded_at_random(
    small_shapes: Dataset, cpu: Machine
) -> None:
    setup = TrialSetup(
        tiny("airbench94_muon", "train.round_steps=stochastic", "train.epochs=1.3").recipe, small_shapes, cpu
    )
    exact = 1.3 * 8  # 10.4 steps
    steps = [setup.last_step(TrialSeeds(0, order, 0)) for order in range(2000)]
    assert set(steps) == {10, 11}
    assert sum(steps) / len(steps) == pytest.approx(exact, abs=4 * 0.49 / 2000**0.5)
    assert steps[:20] == [setup.last_step(TrialSeeds(0, order, 0)) for order in range(20)]
    assert run_trial(setup, SEEDS).steps == steps[0]


@given(epochs=st.integers(1, 20), images=st.integers(100, 1000), batch=st.integers(2, 100))
def test_whole_numbers_of_steps_are_not_rounded(epochs: int, images: int, batch: int) -> None:
    train = Train(batch_size=batch, epochs=epochs)
    assert train.total_steps(images) == epochs * (images // batch)


def test_label_smoothing_ends_when_it_should(small_shapes: Dataset, cpu: Machine) -> None:
    words = ("train.label_smoothing=0.3", "train.label_smoothing_until=0.25")
    setup = TrialSetup(tiny("airbench94_muon", *words).recipe, small_shapes, cpu)
    assert [setup.plan.at(step).label_smoothing for step in range(6)] == [0.3] * 4 + [0] * 2
    setup.net.reset(SEEDS.generator("init"))
    setup.prepare_net()
    setup.net.eval()
    batch = next(setup.new_loader(SEEDS).epoch())
    for step, smoothing in ((0, 0.3), (4, 0.0)):
        losses, logits = setup.forward_loss(step)(batch.images, batch.targets)
        log_p = logits.double().log_softmax(1)
        right = log_p.gather(1, batch.targets[:, None])[:, 0]
        torch.testing.assert_close(losses.double(), -(1 - smoothing) * right - smoothing * log_p.mean(1))


def test_a_plan_without_stages_has_one_kind() -> None:
    assert len(Plan(Train(), 200, 25, 32).steps_by_kind()) == 1
