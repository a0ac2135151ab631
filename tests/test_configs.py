"""Every file under configs/ loads, routes every parameter, and trains two steps."""

import math
from pathlib import Path

import pytest
import torch

from airbench.training.flops import count_flop
from airbench.data.dataset import Dataset
from airbench.device import Machine
from airbench.recipe import load_recipe
from airbench.training.step import train_step
from airbench.training.trial import Trainer
from tests.conftest import CONFIGS, TINY


@pytest.mark.parametrize("config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: str(p.relative_to(CONFIGS)))
def test_config_trains_two_steps(config: Path, small_shapes: Dataset, cpu: Machine) -> None:
    recipe = load_recipe(config, TINY).recipe
    trainer = Trainer(recipe, small_shapes, cpu)
    trainer.warm_up()
    assert count_flop(recipe, 2, 100, small_shapes)["trial"] > 0  # as run.json records it: a step without numbers
    optimizers = trainer._optimizers()
    trainer.net.reset(torch.Generator().manual_seed(0))
    before = [p.clone() for r in trainer.routes for p in r.params]
    images = trainer.train.normalized(torch.float32, 50)
    for step in range(2):
        optimizers.before_step(step)
        loss, _ = train_step(trainer.net, optimizers, images, trainer.train.labels[:50], 0.1)
        assert math.isfinite(loss)
    after = [p for r in trainer.routes for p in r.params]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_airbench94_muon_is_the_published_recipe() -> None:
    recipe = load_recipe(CONFIGS / "airbench94_muon.yaml").recipe
    filters, head = recipe.optimizers["filters"], recipe.optimizers["head"]
    assert filters.name == "muon"
    assert (filters.lr, filters.momentum, filters.nesterov, filters.weight_decay) == (0.24, 0.6, True, 0)
    assert (filters.orthogonalize.steps, filters.renormalize_every) == (3, 1)
    assert filters.orthogonalize.coefficients == (3.4445, -4.7750, 2.0315)
    assert head.lr == 0.67
    assert [recipe.optimizers[g].lr for g in ("whiten_bias", "biases")] == [0.053, 0.053]
    assert recipe.optimizers["whiten_bias"].train_epochs == 3
    assert (recipe.train.batch_size, recipe.train.epochs, recipe.train.label_smoothing) == (2000, 8, 0.2)
    assert recipe.net.widths == (64, 256, 256)
    assert recipe.net.head.scale == 1 / 256


def test_sgd_is_the_published_recipe_on_the_same_net() -> None:
    muon = load_recipe(CONFIGS / "airbench94_muon.yaml").recipe
    sgd = load_recipe(CONFIGS / "sgd.yaml").recipe
    assert sgd.net.model_copy(update={"head": muon.net.head}) == muon.net
    assert {group.name for group in sgd.optimizers.values()} == {"sgd"}
    assert (sgd.train.batch_size, sgd.train.epochs) == (1024, 9.9)
    assert sgd.optimizers["biases"].lr_scale == 64  # type: ignore[union-attr]
    assert sgd.net.head.scale == pytest.approx(1 / 9)
    assert sgd.lookahead is not None


def test_hiverge_has_the_published_numbers() -> None:
    recipe = load_recipe(CONFIGS / "hiverge.yaml").recipe
    filters = recipe.optimizers["filters"]
    assert filters.name == "muon"
    assert (filters.lr, filters.momentum) == (0.205, 0.655)
    assert (filters.renormalize_every, filters.renormalize_growth) == (2, 15)
    assert filters.weight_decay == pytest.approx(1.0418e-6 * 1536, rel=1e-4)
    for group, lr in (("whiten_bias", 0.0573), ("biases", 0.0573), ("head", 0.5415)):
        sgd = recipe.optimizers[group]
        assert sgd.name == "sgd"
        assert (sgd.lr, sgd.momentum, sgd.weight_decay, sgd.weight_decay_unit) == (lr, 0.825, 1.0418e-6, "per_example")
    assert (recipe.train.batch_size, recipe.train.epochs, recipe.train.label_smoothing) == (1536, 7.59, 0.09)
    assert (recipe.net.activation, recipe.net.batch_norm.momentum, recipe.net.whiten.images) == ("silu", 0.5566, 960)
    assert (recipe.evaluate.view_weights, recipe.evaluate.uncertain) == ("equal", 0.25)
