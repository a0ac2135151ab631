"""Parameters go to the first group that matches; misses are errors; learning rates are what the recipe says."""

import inspect
import math

import pytest
import torch
from pydantic import TypeAdapter

import airbench
from airbench.errors import RecipeError
from airbench.net.base import NetContext
from airbench.net.cifarnet import CifarNet
from airbench.optim.groups import ParamGroup, describe, route
from airbench.optim.normalized_momentum import NormalizedMomentum
from airbench.optim.optimizers import Optimizers
from airbench.optim.orthogonalize import inverse_sqrt, newton_schulz, svd
from airbench.optim.sgd import sgd_hyperparameters
from airbench.recipe import nets as schema
from airbench.recipe import optimizers as schema_of
from airbench.recipe.groups import Rescale
from airbench.recipe.optimizers import SGD, Muon, OptimizerGroup
from airbench.recipe.orthogonalizers import SVD, InverseSqrt, NewtonSchulz
from airbench.recipe.schedules import Constant
from tests.conftest import tiny

CONSTANT = Constant(name="constant")
NET = CifarNet(schema.CifarNet(widths=(4, 4, 4)), NetContext(10, 32))


def sgd(params: str, **settings: object) -> SGD:
    return SGD(name="sgd", params=params, lr=0.1, **settings)  # type: ignore[arg-type]


def test_every_trainable_parameter_goes_to_exactly_one_group() -> None:
    groups = route(NET, tiny().recipe.optimizers)
    names = [name for g in groups for name in g.param_names]
    trainable = [name for name, p in NET.named_parameters() if p.requires_grad]
    assert sorted(names) == sorted(trainable)
    by_group = {g.name: g.param_names for g in groups}
    assert by_group["whiten_bias"] == ("whiten.bias",)
    assert by_group["head"] == ("head.weight",)
    assert len(by_group["filters"]) == len(by_group["biases"]) == 6
    assert len(describe(groups)) == 4


def test_first_match_wins() -> None:
    groups: dict[str, OptimizerGroup] = {"all_but": sgd("head.*"), "rest": sgd("*")}
    assert route(NET, groups)[0].param_names == ("head.weight",)
    assert "head.weight" not in route(NET, groups)[1].param_names


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": sgd("*.weight")}, r"no group's params match whiten.bias, groups.0.norm1.bias"),
        ({"a": sgd("*"), "b": sgd("transformer.*")}, r"optimizers.b.params = transformer.\*: matches no trainable"),
        ({"a": sgd("*"), "b": sgd("head.*")}, r"head.weight by 'a'.*put this group first"),
        ({"a": sgd("whiten.weight")}, "matches no trainable parameter"),
    ],
)
def test_misses_are_errors_that_name_the_parameter(groups: dict[str, OptimizerGroup], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        route(NET, groups)


def test_decoupled_hyperparameters_are_those_of_airbench94() -> None:
    """By hand, for momentum 0.85: k = 1024 · (1 + 1/0.15) = 7850.67."""
    knobs = {"lr_unit": "per_1024_examples", "weight_decay": 0.0153, "weight_decay_unit": "per_1024_examples"}
    lr, decay = sgd_hyperparameters(SGD(name="sgd", params="*", lr=11.5, **knobs), 1024)  # type: ignore[arg-type]
    assert lr == pytest.approx(11.5 / 7850.6667, rel=1e-6)
    assert decay == pytest.approx(0.0153 * 1024 / 7850.6667 / lr, rel=1e-6)
    lr_bias, decay_bias = sgd_hyperparameters(
        SGD(name="sgd", params="*", lr=11.5, lr_scale=64, **knobs),
        1024,  # type: ignore[arg-type]
    )
    assert lr_bias == pytest.approx(64 * lr)
    assert decay_bias * lr_bias == pytest.approx(decay * lr)


def test_decay_per_example_is_that_of_airbench94_muon() -> None:
    lr, decay = sgd_hyperparameters(
        SGD(name="sgd", params="*", lr=0.67, weight_decay=2e-6, weight_decay_unit="per_example"), 2000
    )
    assert (lr, decay) == (0.67, pytest.approx(2e-6 * 2000 / 0.67))


def test_coupled_decay_is_torchs_own() -> None:
    assert sgd_hyperparameters(sgd("*", weight_decay=5e-4), 999) == (0.1, 5e-4)


def lrs(optimizers: Optimizers) -> list[float]:
    return [t.optimizer.param_groups[0]["lr"] for t in optimizers.trained]


def test_learning_rates_follow_the_schedules_and_the_whitening_bias_freezes() -> None:
    recipe = tiny().recipe
    optimizers = Optimizers(route(NET, recipe.optimizers), batch_size=50, total_steps=80, steps_per_epoch=10)
    muon, whiten, biases, head = lrs(optimizers)
    assert (muon, whiten, biases, head) == (0.24, 0.053, 0.053, 0.67)
    optimizers.before_step(15)
    assert lrs(optimizers) == pytest.approx([0.24 * 65 / 80, 0.053 / 2, 0.053 * 65 / 80, 0.67 * 65 / 80])
    assert NET.whiten.bias is not None
    assert NET.whiten.bias.requires_grad
    optimizers.before_step(30)
    assert not NET.whiten.bias.requires_grad
    optimizers.before_step(0)
    assert NET.whiten.bias.requires_grad


def test_a_step_moves_what_has_a_gradient_and_forgets_the_gradients() -> None:
    net = CifarNet(schema.CifarNet(widths=(4, 4, 4)), NetContext(10, 32))
    net.reset(torch.Generator().manual_seed(0))
    groups: dict[str, OptimizerGroup] = {
        "filters": Muon(name="muon", params="*conv*.weight", lr=0.1, schedule=Constant(name="constant")),
        "rest": sgd("*", schedule=Constant(name="constant"), momentum=0.0),
    }
    optimizers = Optimizers(route(net, groups), batch_size=4, total_steps=4, steps_per_epoch=2)
    optimizers.before_step(0)
    before = net.head.weight.detach().clone()
    net(torch.randn(4, 3, 32, 32)).sum().backward()
    gradient = net.head.weight.grad
    assert gradient is not None
    expected = before - 0.1 * gradient
    optimizers.step()
    assert torch.allclose(net.head.weight, expected)
    assert all(p.grad is None for p in net.parameters())
    assert math.isfinite(net.groups[0].conv1.weight.sum().item())


@pytest.mark.parametrize(
    ("knobs", "reference"),
    [
        ({"name": "adam", "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}, torch.optim.Adam),
        ({"name": "adamw", "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}, torch.optim.AdamW),
    ],
)
def test_adam_is_torchs_own(knobs: dict[str, object], reference: type[torch.optim.Adam]) -> None:
    group = TypeAdapter(OptimizerGroup).validate_python({**knobs, "params": "*", "lr": 0.1, "schedule": CONSTANT})
    ours, theirs = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizers = Optimizers([ParamGroup("all", group, ("p",), (ours,))], batch_size=1, total_steps=5, steps_per_epoch=1)
    torchs = reference([theirs], lr=0.1, **{k: v for k, v in knobs.items() if k != "name"})  # type: ignore[arg-type]
    for step in range(5):
        theirs.grad = torch.randn(3)
        ours.grad = theirs.grad.clone()
        optimizers.before_step(step)
        optimizers.step()
        torchs.step()
    assert torch.equal(ours, theirs)


def test_every_setting_of_muon_reaches_it() -> None:
    knobs = Muon(
        name="muon", params="*", lr=0.3, momentum=0.5, momentum_convention="lerp", nesterov=False, flatten="in",
        adjust_lr="spectral", max_update_norm=2.0, weight_decay=0.1, batching="padded",
        orthogonalize=SVD(method="svd"), schedule=CONSTANT,
    )  # fmt: skip
    p = torch.nn.Parameter(torch.ones(3, 3))
    optimizers = Optimizers([ParamGroup("all", knobs, ("p",), (p,))], batch_size=1, total_steps=5, steps_per_epoch=1)
    muon = optimizers.trained[0].optimizer
    assert isinstance(muon, airbench.Muon)
    group = muon.param_groups[0]
    for name in set(knobs.model_fields_set) & set(group):
        if name != "params":
            assert group[name] == getattr(knobs, name), name
    assert muon.padded
    assert muon.orthogonalize is svd


def test_rescaling_becomes_rarer_as_the_recipe_says() -> None:
    """Hiverge: every 2 + ⌊15 · progress⌋ steps."""
    found = [step for step in range(100) if Rescale(every=2, growth=15).acts(step, 100)]
    assert found == [step for step in range(100) if step % (2 + 15 * step // 100) == 0]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon", "normalized_momentum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_optimizers_group_can_be_rescaled_before_its_update(name: str, dtype: torch.dtype) -> None:
    """With a learning rate too small to move anything, the weights are what rescaling makes of them."""
    config = TypeAdapter(OptimizerGroup).validate_python(
        {"name": name, "params": "*", "lr": 1e-12, "rescale": {"every": 2, "norm": 3.0}}
    )
    p = torch.nn.Parameter(torch.randn(8, 3, 3, 3).to(dtype))
    start = p.detach().clone()
    optimizers = Optimizers([ParamGroup("all", config, ("p",), (p,))], batch_size=1, total_steps=9, steps_per_epoch=1)
    for step, rescaled in ((0, True), (1, False)):
        with torch.no_grad():
            p.copy_(start)
        p.grad = torch.randn_like(p)
        optimizers.before_step(step)
        optimizers.step()
        expected = 3 * 8**0.5 if rescaled else start.float().norm().item()
        assert p.float().norm().item() == pytest.approx(expected, rel=0.01)


def test_rescaling_leaves_parameters_without_a_gradient_alone() -> None:
    p, q = torch.nn.Parameter(torch.randn(4, 4)), torch.nn.Parameter(torch.randn(4, 4))
    before = q.detach().clone()
    group = ParamGroup("all", sgd("*", rescale=Rescale()), ("p", "q"), (p, q))
    p.grad = torch.randn(4, 4)
    Optimizers([group], batch_size=1, total_steps=9, steps_per_epoch=1).step()
    assert torch.equal(q, before)


def test_defaults_in_python_are_those_in_yaml() -> None:
    """One definition of each default: the class's signature and the recipe's config agree."""
    for function, config in (
        (airbench.Muon.__init__, Muon),
        (NormalizedMomentum.__init__, schema_of.NormalizedMomentum),
        (newton_schulz, NewtonSchulz),
        (inverse_sqrt, InverseSqrt),
    ):
        parameters = inspect.signature(function).parameters
        shared = {
            name: field.default
            for name, field in config.model_fields.items()
            if name in parameters and not field.is_required()
        }
        shared.pop("orthogonalize", None)  # a function here, its config there
        shared.pop("dtype", None)
        assert shared
        assert {name: parameters[name].default for name in shared} == shared, function
