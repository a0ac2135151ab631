"""Slow: a short training on real CIFAR-10 reaches what it should."""

import os

import pytest

from airbench.data.sources import load_dataset
from airbench.device import choose_machine, prepare
from airbench.recipe import load_recipe
from airbench.training.loop import run_trial
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup
from tests.conftest import CONFIGS
from tests.training.test_loop import Silent

COPY = os.environ.get("AIRBENCH_DATA")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not COPY, reason="AIRBENCH_DATA names no copy of CIFAR-10")]


def test_two_epochs_of_airbench94_muon_reach_eighty_percent() -> None:
    recipe = load_recipe(CONFIGS / "records" / "airbench94_muon.yaml", ["train.epochs=2", f"data.path={COPY}"]).recipe
    machine = choose_machine(recipe.engine)
    prepare(machine)
    setup = TrialSetup(recipe, load_dataset(recipe.data), machine)
    assert run_trial(setup, TrialSeeds(0, 0, 0), Silent()).accuracy > 0.80
