"""On a real GPU: what it computes is what the CPU computes in float32. `pytest -m cuda` runs these alone.

On the null GPU the same tests run as far as values allow: everything is there, in its shape and type.
"""

import math
from collections.abc import Mapping
from functools import cache

import pytest
import torch
from torch import Tensor

from airbench.data.dataset import Dataset
from airbench.data.shapes import draw_shapes
from airbench.device import Machine, choose_machine, prepare
from airbench.kernels import symmetric
from airbench.kernels.symmetric import why_no_triton
from airbench.training.evaluate import predict
from airbench.training.loop import run_trial
from airbench.training.results import TrialResult, TrialSeeds
from airbench.training.setup import TrialSetup
from airbench.training.warmup import warm_up
from tests.conftest import tiny

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]

SEEDS = TrialSeeds(1, 2, 3)
AUGMENTED = ("data.augment.cutout=6", "data.augment.color_jitter={brightness: 0.1, contrast: 0.1}")
EAGER = ("engine.compile=none", "engine.cuda_graph=false")
CAPTURED = ("engine.compile=none", "engine.cuda_graph=true")
COMPILED = ("engine.compile=default", "engine.cuda_graph=false")
RECIPES = ("airbench94_muon.yaml", "airbench94.yaml", "hiverge.yaml")

with_triton = pytest.mark.skipif(
    not torch.cuda.is_available() or why_no_triton(torch.device("cuda")) is not None, reason="nothing is compiled here"
)


@cache
def computes() -> bool:
    """Return whether the GPU is one that computes."""
    return torch.ones(2, device="cuda").sum().item() == 2


def machine_for(device: str, precision: str = "fp32") -> Machine:
    words = (f"engine.device={device}", f"engine.precision={precision}", "engine.tf32=false")
    machine = choose_machine(tiny(RECIPES[0], *words).recipe.engine)
    prepare(machine)
    return machine


def setup_for(device: str, data: Dataset, *overrides: str, recipe: str = RECIPES[0]) -> TrialSetup:
    """Set a recipe up in float32 without TF32, its net reset and prepared."""
    loaded = tiny(recipe, f"engine.device={device}", "engine.tf32=false", *overrides)
    setup = TrialSetup(loaded.recipe, data, machine_for(device))
    setup.net.reset(SEEDS.generator("init"))
    setup.prepare_net()
    return setup


def assert_alike(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    """Compare tensors by name: each may differ by ``tolerance`` of its norm."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == value.dtype
        if computes():
            difference = (found[name].cpu().double() - value.cpu().double()).norm()
            assert difference <= tolerance * value.double().norm() + 1e-12, f"{name} differs by {difference}"


def trained(setup: TrialSetup) -> TrialResult:
    warm_up(setup)
    return run_trial(setup, SEEDS)


@pytest.mark.parametrize("recipe", RECIPES)
def test_batches_are_the_cpus_bit_for_bit(recipe: str, small_shapes: Dataset) -> None:
    cpu, gpu = (setup_for(d, small_shapes, *AUGMENTED, recipe=recipe).new_loader(SEEDS) for d in ("cpu", "cuda"))
    for _ in range(2):
        for expected, found in zip(cpu.epoch(), gpu.epoch(), strict=True):
            tensors = ({k: v for k, v in vars(batch).items() if v is not None} for batch in (found, expected))
            assert_alike(*tensors, tolerance=0)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("overrides", [EAGER, pytest.param(COMPILED, marks=with_triton)])
def test_gradients_of_every_parameter_are_the_cpus(
    recipe: str, overrides: tuple[str, ...], small_shapes: Dataset
) -> None:
    gradients = []
    for device, words in (("cpu", ()), ("cuda", overrides)):
        setup = setup_for(device, small_shapes, *words, recipe=recipe)
        setup.net.train()
        batch = next(setup.new_loader(SEEDS).epoch())
        losses, _ = setup.forward_loss(0)(batch.images, batch.targets)
        losses.sum().backward()
        gradients.append({n: p.grad for n, p in setup.net.named_parameters() if p.grad is not None})
    assert len(gradients[0]) == sum(len(group.params) for group in setup.groups)
    assert_alike(gradients[1], gradients[0], tolerance=1e-3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_logits_of_every_view_are_the_cpus(recipe: str, small_shapes: Dataset) -> None:
    logits = []
    for device in ("cpu", "cuda"):
        setup = setup_for(device, small_shapes, *(EAGER if device == "cuda" else ()), recipe=recipe)
        images = setup.test.normalized(torch.float32)
        whole = setup.recipe.evaluate.model_copy(update={"uncertain": 1.0})  # ties would be broken differently
        logits.append({"logits": predict(setup.net, images, whole)})
    assert_alike(logits[1], logits[0], tolerance=1e-4)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_captured_step_leaves_the_weights_of_an_eager_one(recipe: str, small_shapes: Dataset) -> None:
    states = []
    for overrides in (EAGER, CAPTURED):
        setup = setup_for("cuda", small_shapes, "train.epochs=1", *overrides, recipe=recipe)
        warm_up(setup)
        setup.net.reset(SEEDS.generator("init"))
        setup.prepare_net()
        setup.net.train()
        take_step = setup.new_step()
        take_step.before(0)
        take_step(next(setup.new_loader(SEEDS).epoch()))
        states.append({name: value.clone() for name, value in setup.net.state_dict().items()})
    assert_alike(states[1], states[0], tolerance=1e-4)


@pytest.mark.skipif(
    torch.cuda.is_available() and why_no_triton(torch.device("cuda")) is not None, reason="no Triton for this GPU"
)
@pytest.mark.parametrize("shape", [(3, 24, 27), (2, 64, 216), (2, 65, 63), (6, 256, 2304)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["triton", "auto"])
def test_symmetric_products_are_those_of_float64(
    shape: tuple[int, int, int], dtype: torch.dtype, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symmetric, "_choices", {})
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) / shape[2] ** 0.5).to("cuda", dtype)
    found = {"gram": symmetric.gram(x, kernel)}
    found["polynomial"] = symmetric.gram_polynomial(found["gram"], -4.775, 2.0315, kernel)
    a = found["gram"].double()
    expected = {"gram": x.double() @ x.double().mT, "polynomial": -4.775 * a + 2.0315 * a @ a}
    rounding = torch.finfo(dtype).eps
    assert_alike(found, {name: value.to(dtype) for name, value in expected.items()}, tolerance=rounding)
    assert len(symmetric.choices()) == (2 if kernel == "auto" else 0)
    if computes() and kernel == "triton":
        assert all(torch.equal(value, value.mT) for value in found.values())


@pytest.mark.parametrize("kernel", ["triton", "auto"])
def test_a_captured_step_with_the_kernel_leaves_the_weights_of_one_without(kernel: str, small_shapes: Dataset) -> None:
    """In half precision, which rounds differently: the update may differ by some 1% of itself."""
    updates = []
    for word in ("torch", kernel):
        words = ("engine.precision=bf16", f"optimizers.filters.orthogonalize.kernel={word}", *CAPTURED)
        loaded = tiny(RECIPES[0], "engine.device=cuda", "optimizers.filters.rescale=null", *words)
        setup = TrialSetup(loaded.recipe, small_shapes, machine_for("cuda", "bf16"))
        warm_up(setup)
        setup.net.reset(SEEDS.generator("init"))
        setup.prepare_net()
        setup.net.train()
        before = {name: p.clone() for name, p in setup.net.named_parameters() if p.ndim == 4 and p.requires_grad}
        take_step = setup.new_step()
        take_step.before(0)
        take_step(next(setup.new_loader(SEEDS).epoch()))
        updates.append({name: setup.net.get_parameter(name).detach() - old for name, old in before.items()})
    assert_alike(updates[1], updates[0], tolerance=0.05)


LEARNING = ("train.epochs=16", "train.batch_size=50", "net.widths=[16,32,32]", "train.label_smoothing=0",
            "net.head.scale=0.03125", "optimizers.filters.lr=0.05")  # fmt: skip
"""A tiny net on few images whose loss falls far below that of guessing: half of ln 10, as a CPU finds too."""


def learned(device: str, precision: str, data: Dataset, *overrides: str) -> TrialResult:
    recipe = tiny(RECIPES[0], f"engine.device={device}", *LEARNING, *overrides).recipe
    return trained(TrialSetup(recipe, data, machine_for(device, precision)))


@cache
def loss_on_the_cpu() -> float:
    return learned("cpu", "fp32", draw_shapes(train_images=400, test_images=100)).epochs[-1].train_loss


@pytest.mark.parametrize("overrides", [EAGER, CAPTURED, ()], ids=["eager", "captured", "default"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_net_learns_in_every_precision_and_way(
    overrides: tuple[str, ...], precision: str, small_shapes: Dataset
) -> None:
    assert loss_on_the_cpu() < 0.5 * math.log(10)
    result = learned("cuda", precision, small_shapes, *overrides)
    assert 0 < result.seconds < result.wall_seconds
    assert result.steps == 128
    if computes():
        assert result.epochs[-1].train_loss < 0.5 * math.log(10)


def test_the_same_seed_gives_the_same_result_after_another_trial(small_shapes: Dataset) -> None:
    setup = setup_for("cuda", small_shapes, *CAPTURED)
    first = trained(setup)
    run_trial(setup, TrialSeeds(9, 9, 9))
    again = run_trial(setup, SEEDS)
    if computes():
        assert again.epochs[0].train_loss == pytest.approx(first.epochs[0].train_loss, rel=1e-3)
