"""On a real GPU: the same trial as on the CPU. `pytest -m cuda` runs these alone."""

import pytest
import torch

from airbench.data.dataset import Dataset
from airbench.device import Machine, prepare
from airbench.training.loop import run_trial
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup
from airbench.training.warmup import warm_up
from tests.conftest import tiny
from tests.training.test_loop import Silent

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]

SEEDS = TrialSeeds(1, 2, 3)


@pytest.mark.parametrize("config", ["airbench94_muon.yaml", "sgd.yaml"])
def test_first_epoch_agrees_with_the_cpus_float32(config: str, small_shapes: Dataset) -> None:
    recipe = tiny(config, "train.epochs=1", "engine.device=auto").recipe
    losses = []
    for device in ("cpu", "cuda"):
        machine = Machine(torch.device(device), torch.float32)
        prepare(machine)
        setup = TrialSetup(recipe, small_shapes, machine)
        warm_up(setup)
        losses.append(run_trial(setup, SEEDS, Silent()).epochs[0].train_loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_half_precision_trains_and_is_timed_by_events(small_shapes: Dataset) -> None:
    machine = Machine(torch.device("cuda"), torch.float16)
    prepare(machine)
    setup = TrialSetup(tiny("airbench94_muon.yaml", "engine.device=auto").recipe, small_shapes, machine)
    warm_up(setup)
    result = run_trial(setup, SEEDS, Silent())
    assert 0 < result.seconds < result.wall_seconds
    assert all(row.train_loss < 10 for row in result.epochs)


@pytest.mark.parametrize("filters", [(), ("optimizers.filters.name=adamw", "optimizers.filters.lr=0.003")])
def test_a_captured_trial_agrees_with_an_eager_one(filters: tuple[str, ...], small_shapes: Dataset) -> None:
    machine = Machine(torch.device("cuda"), torch.float32)
    prepare(machine)
    losses = []
    for captured in ("false", "true"):
        overrides = ("train.epochs=1", "engine.device=auto", f"engine.cuda_graph={captured}", *filters)
        recipe = tiny("airbench94_muon.yaml", *overrides).recipe
        setup = TrialSetup(recipe, small_shapes, machine)
        warm_up(setup)
        losses.append([run_trial(setup, SEEDS, Silent()).epochs[0].train_loss for _ in range(2)])
    assert losses[1][0] == pytest.approx(losses[1][1], rel=1e-3)  # no trace of the first in the second
    assert losses[1][0] == pytest.approx(losses[0][0], rel=0.02)
