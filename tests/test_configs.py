"""Every file under configs/ loads, routes every parameter, and trains two steps."""

from pathlib import Path

import pytest
import torch

from airbench.data.batch import Batch, first_rows
from airbench.data.dataset import Dataset
from airbench.data.transforms import ImageShape
from airbench.device import Machine
from airbench.net.base import build_net
from airbench.recipe import load_recipe
from airbench.recipe.groups import Rescale
from airbench.recipe.shipped import shipped_recipes
from airbench.training.flops import count_flop
from airbench.training.plan import Plan
from airbench.training.setup import TrialSetup, net_context
from airbench.training.step import train_step
from airbench.training.warmup import warm_up
from tests.conftest import CONFIGS, tiny

CIFAR = ImageShape(32, 3, 10)


@pytest.mark.parametrize("config", shipped_recipes().values(), ids=lambda p: str(p.relative_to(CONFIGS)))
def test_config_trains_two_steps(config: Path, small_shapes: Dataset, cpu: Machine) -> None:
    recipe = tiny(config).recipe
    setup = TrialSetup(recipe, small_shapes, cpu)
    warm_up(setup)
    assert count_flop(recipe, 2, 100, setup.shape)["trial"] > 0  # as run.json records it: a step without numbers
    optimizers = setup.new_optimizers()
    setup.net.reset(torch.Generator().manual_seed(0))
    before = [p.clone() for g in setup.groups for p in g.params]
    index = torch.arange(50)
    batch = first_rows(
        Batch(setup.train.normalized(torch.float32, 50), setup.train.labels[:50], index), setup.plan.at(0).rows
    )
    for step in range(2):
        optimizers.before_step(step)
        losses, _ = train_step(setup.forward_loss(step), optimizers, batch)
        assert losses.isfinite().all()
    after = [p for g in setup.groups for p in g.params]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_airbench94_muon_is_the_published_recipe() -> None:
    recipe = load_recipe(CONFIGS / "records" / "airbench94_muon.yaml").recipe
    filters, head = recipe.optimizers["filters"], recipe.optimizers["head"]
    assert filters.name == "muon"
    assert (filters.lr, filters.momentum, filters.nesterov, filters.weight_decay) == (0.24, 0.6, True, 0)
    assert (filters.orthogonalize.steps, filters.rescale) == (3, Rescale(every=1))
    assert filters.orthogonalize.coefficients == (3.4445, -4.7750, 2.0315)
    assert head.lr == 0.67
    assert [recipe.optimizers[g].lr for g in ("whiten_bias", "biases")] == [0.053, 0.053]
    assert recipe.optimizers["whiten_bias"].train_epochs == 3
    assert (recipe.train.batch_size, recipe.train.epochs, recipe.train.label_smoothing) == (2000, 8, 0.2)
    assert recipe.net.widths == (64, 256, 256)
    assert recipe.net.head.scale == 1 / 256


def test_sgd_is_the_published_recipe_on_the_same_net() -> None:
    muon = load_recipe(CONFIGS / "records" / "airbench94_muon.yaml").recipe
    sgd = load_recipe(CONFIGS / "records" / "airbench94.yaml").recipe
    assert sgd.net.model_copy(update={"head": muon.net.head}) == muon.net
    assert {group.name for group in sgd.optimizers.values()} == {"sgd"}
    assert (sgd.train.batch_size, sgd.train.epochs) == (1024, 9.9)
    assert sgd.optimizers["biases"].lr_scale == 64  # type: ignore[union-attr]
    assert sgd.net.head.scale == pytest.approx(1 / 9)
    assert sgd.lookahead is not None


@pytest.mark.parametrize(
    ("name", "pflop", "tolerance"),
    [
        ("airbench94_muon", 0.29, 0.01),
        ("airbench94", 0.36, 0.03),
        ("airbench95", 1.4, 0.05),
        ("airbench96", 4.9, 0.02),
        ("airbench96_faster", 3.1, 0.03),
    ],
)
def test_arithmetic_of_a_trial_is_the_published_one(name: str, pflop: float, tolerance: float) -> None:
    """airbench94 and airbench95 seem to be published with the gradients that a frozen whitening bias saves: 3% more."""
    recipe = load_recipe(name).recipe
    train = recipe.train
    flop = count_flop(recipe, train.total_steps(50_000), 10_000, CIFAR, train.steps_per_epoch(50_000))
    assert flop["trial"] / 1e15 == pytest.approx(pflop, rel=tolerance)


@pytest.mark.parametrize(
    ("name", "widths", "depth"),
    [
        ("airbench93", (64, 128, 128), 2),
        ("airbench94", (64, 256, 256), 2),
        ("airbench95", (128, 384, 384), 2),
        ("airbench96", (128, 384, 512), 3),
    ],
)
def test_nets_have_as_many_parameters_as_by_hand(name: str, widths: tuple[int, ...], depth: int) -> None:
    """24 whitening filters of 2×2×3 and their biases, 3×3 convolutions, a bias per norm, a head without bias."""
    inputs = (24, *widths[:-1])
    convs = sum(9 * i * o + (depth - 1) * 9 * o * o for i, o in zip(inputs, widths, strict=True))
    expected = {"conv": convs, "norm": 2 * depth * sum(widths), "whiten": 24 * 12 + 24, "head": 10 * widths[-1]}
    recipe = load_recipe(name).recipe
    net = build_net(recipe.net, net_context(recipe, CIFAR), torch.device("meta"), torch.float32)
    counted = {kind: sum(p.numel() for n, p in net.named_parameters() if kind in n) for kind in expected}
    assert counted == expected
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert trained == convs + depth * sum(widths) + 24 + 10 * widths[-1]


def test_airbench96_faster_takes_as_many_steps_as_published() -> None:
    recipe = load_recipe("airbench96_faster").recipe
    assert recipe.train.total_steps(50_000) == 45 * 48
    assert Plan(recipe.train, 2160, 50_000 / 1024, 32).at(0).rows == 512


def test_hiverge_has_the_published_numbers() -> None:
    recipe = load_recipe(CONFIGS / "records" / "hiverge.yaml").recipe
    filters = recipe.optimizers["filters"]
    assert filters.name == "muon"
    assert (filters.lr, filters.momentum) == (0.205, 0.655)
    assert filters.rescale == Rescale(every=2, growth=15)
    assert filters.weight_decay == pytest.approx(1.0418e-6 * 1536, rel=1e-4)
    for group, lr in (("whiten_bias", 0.0573), ("biases", 0.0573), ("head", 0.5415)):
        sgd = recipe.optimizers[group]
        assert sgd.name == "sgd"
        assert (sgd.lr, sgd.momentum, sgd.weight_decay, sgd.weight_decay_unit) == (lr, 0.825, 1.0418e-6, "per_example")
    assert (recipe.train.batch_size, recipe.train.epochs, recipe.train.label_smoothing) == (1536, 7.59, 0.09)
    assert (recipe.net.activation, recipe.net.batch_norm.momentum, recipe.net.whiten.images) == ("silu", 0.5566, 960)
    assert (recipe.evaluate.view_weights, recipe.evaluate.uncertain) == ("equal", 0.25)
