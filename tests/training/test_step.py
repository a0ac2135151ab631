"""A captured step does what the step does, with nothing of the host's in it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from airbench.data.batch import Batch, first_rows
from airbench.data.dataset import Dataset
from airbench.device import Machine
from airbench.errors import NotCapturableError, RecipeError
from airbench.net.base import Net, NetContext, build_net
from airbench.optim.groups import route
from airbench.optim.optimizers import Optimizers
from airbench.recipe import Recipe
from airbench.training.engine import EAGER, Execution, ForwardLoss, forward_loss
from airbench.training.loop import run_trial
from airbench.training.plan import Plan
from airbench.training.results import TrialSeeds
from airbench.training.selection import Selection
from airbench.training.selection.recorded_loss import RecordedLossSelection
from airbench.training.setup import TrialSetup
from airbench.training.step import GraphStep, StepResult, TrainingStep, train_step
from tests.conftest import tiny
from tests.training.test_loop import Silent

STEPS = 8
HALF_FROZEN = "optimizers.whiten_bias.train_epochs=1"
SLOW = "engine.fused=false"  # as on CUDA: the recorder sees PyTorch's operations only


class Recorder(TorchDispatchMode):
    """Notes every operation with its arguments, as a CUDA graph notes kernels: numbers are fixed, memory is not."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise RuntimeError(f"{func} makes the host wait, and a capture fail")
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, result in self.calls:
            for old, new in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def record(work: Callable[[], StepResult]) -> tuple[Callable[[], None], StepResult]:
    recorder = Recorder()
    with recorder:
        result = work()

    def replay() -> None:
        with torch.no_grad():
            recorder.replay()

    return replay, result


def start(recipe: Recipe, captured: bool, dtype: torch.dtype = torch.float32) -> tuple[Net, Optimizers]:
    net = build_net(recipe.net, NetContext(10, 32, fused=recipe.engine.fused), torch.device("cpu"), dtype)
    net.reset(TrialSeeds(0, 0, 0).generator("init"))
    net.train()
    routes = route(net, recipe.optimizers)
    return net, Optimizers(routes, batch_size=50, total_steps=STEPS, steps_per_epoch=4, captured=captured)


def batches(dtype: torch.dtype = torch.float32) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(
            torch.randn(50, 3, 32, 32, generator=generator).to(dtype),
            torch.randint(10, (50,), generator=generator),
            torch.randperm(50, generator=generator),
        )
        for _ in range(STEPS)
    ]


def selection_for(recipe: Recipe, plan: Plan) -> Selection:
    """What a setup of 50 images on a CPU would use."""
    if recipe.train.selection is None:
        return Selection()
    setup = SimpleNamespace(
        plan=plan, machine=SimpleNamespace(device=torch.device("cpu")), train=range(50), recipe=recipe
    )
    selection = RecordedLossSelection(cast(TrialSetup, setup))
    selection.start(TrialSeeds(1, 1, 1))
    return selection


def losses_at(net: Net, plan: Plan, step: int) -> ForwardLoss:
    return forward_loss(net, plan.at(step).label_smoothing, EAGER)


@pytest.mark.parametrize(
    "overrides",
    [
        (HALF_FROZEN,),
        (HALF_FROZEN, "optimizers.filters.weight_decay=0.1", "optimizers.filters.rescale.growth=3"),
        (HALF_FROZEN, "train.resolution=[{side: 24, until: 0.4}]", "net.final_pool=global"),
        (HALF_FROZEN, "train.selection={name: recorded_loss, start: 1, until: 0.9}", "train.label_smoothing_until=0.5"),
        ("optimizers.filters.name=adamw", "optimizers.filters.lr=0.003", "optimizers.filters.weight_decay=1"),
        ("optimizers.filters.name=adam", "optimizers.filters.lr=0.003", "optimizers.filters.weight_decay=1"),
    ],
    ids=["muon", "muon, growing", "muon, two resolutions", "muon, selection, labels", "adamw", "adam"],
)
def test_replayed_steps_are_the_steps(overrides: tuple[str, ...]) -> None:
    recipe = tiny("airbench94_muon.yaml", SLOW, *overrides).recipe
    plan = Plan(recipe.train, STEPS, 4, 32)
    net, optimizers = start(recipe, captured=False)
    step = TrainingStep(selection_for(recipe, plan), plan, partial(losses_at, net, plan), optimizers)
    twin, captured = start(recipe, captured=True)
    replayed = GraphStep(
        TrainingStep(selection_for(recipe, plan), plan, partial(losses_at, twin, plan), captured),
        batches()[0],
        capture=record,
    )
    replayed.prepare()
    twin.reset(TrialSeeds(0, 0, 0).generator("init"))
    captured.reset()
    for each in (step, replayed.step):
        each.selection.start(TrialSeeds(1, 1, 1))
    for i, whole in enumerate(batches()):
        batch = first_rows(whole, plan.at(i).rows)
        if len(batch) < len(whole):
            batch = replace(batch, weights=1 + torch.rand(len(batch), generator=torch.Generator().manual_seed(i)))
        step.before(i)
        replayed.before(i)
        expected, result = step(batch), replayed(batch)
        assert len(result.batch) == plan.at(i).rows
        assert torch.equal(result.batch.targets, expected.batch.targets)
        torch.testing.assert_close(result.batch.images, expected.batch.images)
        # What rounding grows to in some steps.
        torch.testing.assert_close(result.losses, expected.losses, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(result.logits, expected.logits, rtol=1e-3, atol=1e-3)
    if isinstance(step.selection, RecordedLossSelection):
        recorded = cast(RecordedLossSelection, replayed.step.selection)
        assert step.selection.losses.isfinite().all()
        torch.testing.assert_close(recorded.losses, step.selection.losses, rtol=1e-3, atol=1e-3)
    for (name, p), q in zip(net.state_dict().items(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(q, p, rtol=2e-3, atol=2e-3, msg=lambda text, name=name: f"{name}: {text}")


def test_there_is_a_graph_for_each_kind_of_step() -> None:
    _, optimizers = start(tiny("airbench94_muon.yaml", HALF_FROZEN).recipe, captured=True)
    assert len({optimizers.kind_of_step(i) for i in range(STEPS)}) == 2  # before the whitening bias freezes, and after
    _, optimizers = start(tiny("airbench94_muon.yaml", "optimizers.filters.rescale.every=3").recipe, captured=True)
    rescaled = len(optimizers.trained_at(0))  # the groups that are trained come first, then those that are rescaled
    assert [optimizers.kind_of_step(i)[rescaled] for i in range(7)] == [True, False, False, True, False, False, True]


def test_an_optimizer_that_counts_in_python_is_not_captured() -> None:
    """A graph would repeat its count as it was when it was captured."""

    class Counting(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for options in self.param_groups:
                for p in options["params"]:
                    self.state[p]["count"] = self.state[p].get("count", 0) + 1

    recipe = tiny("airbench94_muon.yaml").recipe
    net, optimizers = start(recipe, captured=True)
    head = next(t for t in optimizers.trained if t.group.name == "head")
    counting = Counting(head.group.params, lr=0.1)
    optimizers.trained = [t if t is not head else replace(t, optimizer=counting) for t in optimizers.trained]
    plan = Plan(recipe.train, STEPS, STEPS, 32)
    step = TrainingStep(selection_for(recipe, plan), plan, partial(losses_at, net, plan), optimizers)
    with pytest.raises(NotCapturableError, match=r"optimizers\.head: count of state 0 is a number that changes"):
        GraphStep(step, batches()[0], capture=record).prepare()


def test_a_tensor_as_learning_rate_rounds_no_worse_than_a_number() -> None:
    recipe = tiny("airbench94_muon.yaml", "optimizers.filters.weight_decay=0.1").recipe
    nets = []
    for captured, dtype in ((False, torch.bfloat16), (True, torch.bfloat16), (False, torch.float32)):
        net, optimizers = start(recipe, captured, dtype)
        optimizers.before_step(0)
        train_step(forward_loss(net, 0.2, EAGER), optimizers, batches(dtype)[0])
        nets.append(torch.cat([p.detach().float().flatten() for n, p in net.named_parameters() if "conv" in n]))
    number, tensor, exact = nets
    assert (tensor - exact).norm() <= 1.1 * (number - exact).norm()


@pytest.mark.parametrize(
    "selection",
    ["null", "{name: recorded_loss, start: 1}", "{name: proxy, net: {widths: [4, 4, 4], whiten: {images: 100}}}"],
    ids=["all", "recorded loss", "proxy"],
)
def test_trials_with_a_graph_leave_no_trace_in_the_next(
    selection: str, small_shapes: Dataset, cpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny("airbench94_muon.yaml", SLOW, f"train.selection={selection}").recipe
    eager, setup = (TrialSetup(recipe, small_shapes, cpu) for _ in range(2))
    setup.execute(Execution("none", cuda_graph=True))
    monkeypatch.setattr("airbench.training.step.cuda_graph_capture", lambda: record)
    first, other, again = (run_trial(setup, TrialSeeds(s, s, s), Silent()) for s in (0, 1, 0))
    assert first.epochs[-1].train_loss == again.epochs[-1].train_loss != other.epochs[-1].train_loss
    expected = run_trial(eager, TrialSeeds(0, 0, 0), Silent())
    assert first.epochs[0].train_loss == pytest.approx(expected.epochs[0].train_loss, rel=0.02)


def test_what_no_graph_can_hold_is_refused(small_shapes: Dataset, cpu: Machine) -> None:
    with pytest.raises(RecipeError, match=r"engine.cuda_graph = true: there are no CUDA graphs on cpu"):
        TrialSetup(tiny("airbench94_muon.yaml", "engine.cuda_graph=true").recipe, small_shapes, cpu)
    for override in (
        ("optimizers.biases.name=normalized_momentum", "optimizers.biases.lr=0.01"),
        ("optimizers.filters.orthogonalize.method=svd",),
    ):
        with pytest.raises(RecipeError, match=r"cuda_graph cannot capture"):
            tiny("airbench94_muon.yaml", "engine.cuda_graph=true", *override)
