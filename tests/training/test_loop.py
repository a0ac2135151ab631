"""A trial: the same bits for the same seed, no trace of warm-up, and failure said clearly."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch._dynamo

from airbench.data.dataset import Dataset, make_dataset
from airbench.device import Machine
from airbench.errors import RecipeError, TrialError
from airbench.optim.optimizers import Optimizers
from airbench.training.callback import Callback
from airbench.training.loop import guesses_at_most, run_trial
from airbench.training.results import EpochRow, TrialResult, TrialSeeds
from airbench.training.setup import TrialSetup
from airbench.training.warmup import warm_up
from tests.conftest import tiny


class Silent(Callback):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.rows: list[EpochRow] = []

    def on_step(self, step: int, total: int) -> None:
        self.steps.append((step, total))

    def on_epoch(self, row: EpochRow) -> None:
        self.rows.append(row)


SEEDS = TrialSeeds(1, 2, 3)
Bits = dict[str, torch.Tensor]


def train(setup: TrialSetup, seeds: TrialSeeds = SEEDS) -> tuple[TrialResult, Bits]:
    result = run_trial(setup, seeds, Silent())
    return result, {k: v.clone() for k, v in setup.net.state_dict().items()}


def same(one: Bits, other: Bits) -> bool:
    return all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("config", ["airbench94_muon.yaml", "airbench94.yaml"])
def test_same_seeds_same_bits_whatever_came_before(config: str, small_shapes: Dataset, cpu: Machine) -> None:
    recipe = tiny(config).recipe
    cold_result, cold = train(TrialSetup(recipe, small_shapes, cpu))
    setup = TrialSetup(recipe, small_shapes, cpu)
    warm_up(setup)
    train(setup, TrialSeeds(9, 9, 9))
    warm_result, warm = train(setup)
    assert same(cold, warm)
    assert cold_result.accuracy == warm_result.accuracy
    assert [replace(r, seconds=0) for r in cold_result.epochs] == [replace(r, seconds=0) for r in warm_result.epochs]


@pytest.mark.parametrize("stream", ["init", "order", "augment"])
def test_each_seed_changes_the_result(stream: str, small_shapes: Dataset, cpu: Machine) -> None:
    setup = TrialSetup(tiny().recipe, small_shapes, cpu)
    _, one = train(setup)
    _, other = train(setup, replace(SEEDS, **{stream: 77}))
    assert not same(one, other)


@pytest.mark.parametrize("stream", ["init", "order", "augment"])
def test_each_seed_changes_its_own_stream_only(stream: str) -> None:
    def first_draws(seeds: TrialSeeds) -> dict[str, float]:
        return {s: torch.rand(1, generator=seeds.generator(s)).item() for s in ("init", "order", "augment")}

    one, other = first_draws(TrialSeeds(5, 5, 5)), first_draws(replace(TrialSeeds(5, 5, 5), **{stream: 6}))
    assert {s for s in one if one[s] != other[s]} == {stream}
    assert len(set(one.values())) == 3  # streams of one seed are independent


def test_a_seed_that_the_recipe_fixes_is_fixed() -> None:
    recipe = tiny("airbench94_muon.yaml", "seeds.order=42").recipe
    assert TrialSeeds.of(recipe, 7) == TrialSeeds(init=7, order=42, augment=7)


def test_the_net_learns_what_is_easy(cpu: Machine) -> None:
    """Ten colours under noise, which a working net tells apart after a few epochs."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (10, 3))

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count, dtype=np.uint8) % 10
        noise = rng.integers(-20, 21, (count, 32, 32, 3))
        return np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8), labels

    data = make_dataset("colours", split(400), split(100), tuple("abcdefghij"), "made here")
    overrides = ("train.epochs=10", "net.widths=[8,16,16]", "optimizers.biases.lr=0.005", "optimizers.head.lr=0.05")
    result, _ = train(TrialSetup(tiny("airbench94_muon.yaml", *overrides).recipe, data, cpu))
    assert result.epochs[-1].train_loss < 0.7 * result.epochs[0].train_loss
    assert result.accuracy > 0.8


def test_result_holds_a_row_an_epoch_and_time_that_grows(small_shapes: Dataset, cpu: Machine) -> None:
    watcher = Silent()
    setup = TrialSetup(tiny("airbench94_muon.yaml", "train.epochs=2.5").recipe, small_shapes, cpu)
    result = run_trial(setup, SEEDS, watcher)
    assert watcher.steps == [(i + 1, 20) for i in range(20)]  # 400 images in batches of 50: 8 steps an epoch
    assert [row.epoch for row in result.epochs] == [1, 2, 2.5]
    assert watcher.rows == result.epochs
    times = [row.seconds for row in result.epochs]
    assert 0 < times[0] < times[1] < times[2] < result.seconds < result.wall_seconds
    assert result.plain_accuracy == result.epochs[-1].accuracy
    assert 0 <= result.accuracy <= 1
    assert result.steps == 20


def test_lookahead_leaves_the_slow_weights(small_shapes: Dataset, cpu: Machine) -> None:
    """Its one update, after step 6 of 8, goes all the way to the net: the last two steps are lost."""
    words = "lookahead={every: 6, decay: 0.0}"
    setup = TrialSetup(tiny("airbench94_muon.yaml", words, "train.epochs=1").recipe, small_shapes, cpu)
    after_step: list[torch.Tensor] = []

    class Keep(Callback):
        def on_step(self, step: int, total: int) -> None:
            after_step.append(setup.net.head.weight.detach().clone())

    run_trial(setup, SEEDS, Keep())
    assert len(after_step) == 8
    assert not torch.equal(after_step[-1], after_step[5])
    assert torch.equal(setup.net.head.weight, after_step[5])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lookahead={every: 2, decay: 1.0, power: 0}"], r"lookahead\.decay = 1: .* never moves in 8 steps"),
        (["lookahead={every: 8, decay: 1.0}"], r"lookahead\.decay = 1: .* never moves in 8 steps"),
    ],
)
def test_lookahead_that_would_give_back_the_untrained_net_is_refused(
    words: list[str], said: str, small_shapes: Dataset, cpu: Machine
) -> None:
    recipe = tiny("airbench94_muon.yaml", "train.epochs=1", *words).recipe
    with pytest.raises(RecipeError, match=said):
        TrialSetup(recipe, small_shapes, cpu)


def test_nan_stops_the_trial_and_says_so(small_shapes: Dataset, cpu: Machine) -> None:
    setup = TrialSetup(tiny("airbench94.yaml", "optimizers.head.lr=1e20", "train.epochs=50").recipe, small_shapes, cpu)
    watcher = Silent()
    with pytest.raises(TrialError, match=r"the loss is (nan|inf).*lower lr"):
        run_trial(setup, SEEDS, watcher)
    assert len(watcher.steps) < 100


def test_a_net_that_does_not_learn_is_stopped(small_shapes: Dataset, cpu: Machine) -> None:
    lrs = [f"optimizers.{group}.lr=1e-12" for group in ("filters", "whiten_bias", "biases", "head")]
    overrides = (*lrs, "train.epochs=9", "train.stall_epochs=2", "net.head.scale=1e-6")
    setup = TrialSetup(tiny("airbench94_muon.yaml", *overrides).recipe, small_shapes, cpu)
    watcher = Silent()
    with pytest.raises(TrialError, match=r"not learning: at epoch 2 .* may be guessing"):
        run_trial(setup, SEEDS, watcher)
    assert len(watcher.rows) == 2


@pytest.mark.parametrize(("classes", "most"), [(2, 0.55), (10, 0.15), (100, 0.015), (1000, 0.0015)])
def test_a_net_that_does_better_than_guessing_is_trained_on_whatever_the_number_of_classes(
    classes: int, most: float
) -> None:
    """70% of two classes is no guess, and 1.4% of a hundred may be one."""
    assert guesses_at_most(classes) == pytest.approx(most)


def test_a_failed_trial_leaves_no_trace_in_the_next(small_shapes: Dataset, cpu: Machine) -> None:
    recipe = tiny().recipe
    _, clean = train(TrialSetup(recipe, small_shapes, cpu))
    setup = TrialSetup(recipe, small_shapes, cpu)
    with torch.no_grad():
        for tensor in setup.net.state_dict().values():
            tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
    _, after = train(setup)
    assert same(clean, after)


def test_batch_larger_than_the_training_set(small_shapes: Dataset, cpu: Machine) -> None:
    with pytest.raises(RecipeError, match=r"batch_size = 2000: there are only 400"):
        TrialSetup(tiny("airbench94_muon.yaml", "train.batch_size=2000").recipe, small_shapes, cpu)


def test_fewer_training_images(small_shapes: Dataset, cpu: Machine) -> None:
    setup = TrialSetup(tiny("airbench94_muon.yaml", "data.train_images=120").recipe, small_shapes, cpu)
    assert len(setup.train) == 120
    assert setup.steps_per_epoch == 2


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_precisions_agree_roughly(precision: str, small_shapes: Dataset) -> None:
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    setup = TrialSetup(tiny().recipe, small_shapes, Machine(torch.device("cpu"), dtype))
    result, _ = train(setup)
    exact, _ = train(TrialSetup(tiny().recipe, small_shapes, Machine(torch.device("cpu"), torch.float32)))
    assert result.epochs[0].train_loss == pytest.approx(exact.epochs[0].train_loss, rel=0.1)


def test_a_compiled_net_trains_alike_and_nothing_is_compiled_on_the_clock(
    small_shapes: Dataset, cpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whitening bias is frozen half way, which changes the graph: warm-up has to see that."""
    knobs = ("optimizers.whiten_bias.train_epochs=1", "engine.compile=default")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # inductor takes minutes
    torch._dynamo.reset()
    graphs = torch._dynamo.utils.counters["stats"]
    eager = TrialSetup(tiny("airbench94_muon.yaml", knobs[0], "engine.fused=false").recipe, small_shapes, cpu)
    compiled = TrialSetup(tiny("airbench94_muon.yaml", *knobs).recipe, small_shapes, cpu)
    warm_up(compiled)
    before = graphs["unique_graphs"]
    assert before >= 2
    expected, found = (run_trial(setup, SEEDS, Silent()) for setup in (eager, compiled))
    assert graphs["unique_graphs"] == before
    assert found.epochs[-1].train_loss == pytest.approx(expected.epochs[-1].train_loss, rel=1e-3)


def test_weights_ruined_by_the_last_step_are_a_failure(
    small_shapes: Dataset, cpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = TrialSetup(tiny("airbench94_muon.yaml").recipe, small_shapes, cpu)
    finish = setup.new_averages

    def ruin() -> object:
        averages = finish()
        averages.finish = lambda: setup.net.head.weight.data.fill_(math.nan)  # type: ignore[method-assign, operator, union-attr]
        return averages

    monkeypatch.setattr(setup, "new_averages", ruin)
    with pytest.raises(TrialError, match="the weights are not finite after the last step"):
        run_trial(setup, TrialSeeds(0, 0, 0))


def test_a_trial_that_failed_inside_a_step_leaves_no_gradient_to_the_next(
    small_shapes: Dataset, cpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = TrialSetup(tiny().recipe, small_shapes, cpu)
    _, expected = train(setup)

    def exhausted(self: Optimizers) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Optimizers, "step", exhausted)
        with pytest.raises(TrialError, match="out of memory"):
            train(setup)
    assert any(p.grad is not None for p in setup.net.parameters())
    _, found = train(setup)
    assert same(found, expected)
