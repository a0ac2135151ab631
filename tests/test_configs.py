"""Every file under configs/ loads, routes every parameter, and trains two steps."""

from pathlib import Path

import pytest
import torch

from airbench.data.batch import Batch
from airbench.data.dataset import Dataset
from airbench.device import Machine
from airbench.recipe import load_recipe
from airbench.recipe.optimizers import Rescale
from airbench.training.flops import count_flop
from airbench.training.setup import TrialSetup
from airbench.training.step import train_step
from airbench.training.warmup import warm_up
from tests.conftest import CONFIGS, tiny


@pytest.mark.parametrize("config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: str(p.relative_to(CONFIGS)))
def test_config_trains_two_steps(config: Path, small_shapes: Dataset, cpu: Machine) -> None:
    recipe = tiny(config).recipe
    setup = TrialSetup(recipe, small_shapes, cpu)
    warm_up(setup)
    assert count_flop(recipe, 2, 100, setup.shape)["trial"] > 0  # as run.json records it: a step without numbers
    optimizers = setup.new_optimizers()
    setup.net.reset(torch.Generator().manual_seed(0))
    before = [p.clone() for g in setup.groups for p in g.params]
    index = torch.arange(50)
    batch = Batch(setup.train.normalized(torch.float32, 50), setup.train.labels[:50], index)
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
