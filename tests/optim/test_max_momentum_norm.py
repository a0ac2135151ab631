"""A limit on the norm of the momentum, against a loop over steps and parameters in float64."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from airbench.optim.decay import limit_norms
from airbench.optim.groups import ParamGroup, route
from airbench.optim.limited_sgd import LimitedSGD
from airbench.optim.muon import Muon
from airbench.optim.normalized_momentum import NormalizedMomentum
from airbench.optim.optimizers import Optimizers
from airbench.optim.orthogonalize.build import unchanged
from airbench.recipe import optimizers as schema
from airbench.recipe.orthogonalizers import NoOrthogonalization

SHAPES = ((5, 3), (4, 2, 3, 3), (6, 6))
LR, MOMENTUM, LIMIT, DECAY = 0.1, 0.8, 1.5, 0.01

plain_muon = partial(Muon, orthogonalize=unchanged)


def gradients(step: int) -> list[Tensor]:
    """Some larger than the limit, some smaller."""
    generator = torch.Generator().manual_seed(step)
    sizes = (0.05, 0.5, 3.0)
    return [size * torch.randn(s, generator=generator).double() for s, size in zip(SHAPES, sizes, strict=True)]


def limited(buffer: Tensor) -> Tensor:
    norm = float(buffer.square().sum()) ** 0.5
    return buffer * (LIMIT / norm) if norm > LIMIT else buffer


def by_loop(start: list[Tensor], update: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Twenty steps; ``update`` maps weight, gradient and buffer to the new weight and buffer."""
    weights, buffers = [p.clone() for p in start], [torch.zeros_like(p) for p in start]
    for step in range(20):
        for i, g in enumerate(gradients(step)):
            weights[i], buffers[i] = update(weights[i], g, buffers[i])
    return weights


def sgd_loop(nesterov: bool, decay: float, p: Tensor, g: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    g = g + decay * p
    b = limited(MOMENTUM * b + g)
    return p - LR * (g + MOMENTUM * b if nesterov else b), b


def lerp_loop(nesterov: bool, p: Tensor, g: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    b = limited(MOMENTUM * b + (1 - MOMENTUM) * g)
    return p - LR * ((1 - MOMENTUM) * g + MOMENTUM * b if nesterov else b), b


def rms_loop(p: Tensor, g: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    b = limited(MOMENTUM * b + (1 - MOMENTUM) * g)
    return p - LR * b / (b.square().mean().sqrt() + 1e-8), b


def steps(optimizer: torch.optim.Optimizer, params: list[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Twenty steps; yields the buffers after each."""
    for step in range(20):
        for p, g in zip(params, gradients(step), strict=True):
            p.grad = g.to(p.dtype)
        optimizer.step()
        yield [optimizer.state[p]["momentum_buffer"] for p in params]


CASES: dict[str, tuple[Any, Any]] = {
    "sgd": (partial(LimitedSGD, nesterov=False, weight_decay=DECAY), partial(sgd_loop, False, DECAY)),
    "sgd nesterov": (partial(LimitedSGD, nesterov=True), partial(sgd_loop, True, 0.0)),
    "muon sum": (partial(plain_muon, nesterov=False), partial(sgd_loop, False, 0.0)),
    "muon sum nesterov": (plain_muon, partial(sgd_loop, True, 0.0)),
    "muon lerp": (partial(plain_muon, nesterov=False, momentum_convention="lerp"), partial(lerp_loop, False)),
    "muon lerp nesterov": (partial(plain_muon, momentum_convention="lerp"), partial(lerp_loop, True)),
    "normalized_momentum": (NormalizedMomentum, rms_loop),
}


@pytest.mark.parametrize("name", CASES)
def test_the_limited_momentum_is_the_loops_and_never_exceeds_the_limit(name: str) -> None:
    build, loop = CASES[name]
    params = [nn.Parameter(g.clone()) for g in gradients(99)]
    expected = by_loop([p.detach() for p in params], loop)
    at_limit = 0
    for buffers in steps(build(params, lr=LR, momentum=MOMENTUM, max_momentum_norm=LIMIT), params):
        norms = [b.norm().item() for b in buffers]
        assert max(norms) <= LIMIT * (1 + 1e-12)
        at_limit += sum(norm > LIMIT * (1 - 1e-12) for norm in norms)
    assert 0 < at_limit < 60  # it acted on some and not on others
    rounding = 1e-6 if name == "normalized_momentum" else 1e-10  # its root mean square is a float32
    for p, e in zip(params, expected, strict=True):
        torch.testing.assert_close(p.detach(), e, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("name", CASES)
def test_a_limit_that_is_never_reached_changes_no_bit(name: str) -> None:
    build, _ = CASES[name]
    weights = []
    for limit in (1e6, None) if "sgd" not in name else (1e6, 1e9):
        params = [nn.Parameter(g.float()) for g in gradients(99)]
        list(steps(build(params, lr=LR, momentum=MOMENTUM, max_momentum_norm=limit), params))
        weights.append(params)
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_without_reaching_the_limit_sgd_is_pytorchs() -> None:
    for nesterov, decay in ((False, 0.0), (True, 0.01)):
        ours, theirs = ([nn.Parameter(g.clone()) for g in gradients(99)] for _ in range(2))
        words = {"lr": LR, "momentum": MOMENTUM, "nesterov": nesterov, "weight_decay": decay}
        list(steps(LimitedSGD(ours, max_momentum_norm=1e9, **words), ours))  # type: ignore[arg-type]
        list(steps(torch.optim.SGD(theirs, **words), theirs))  # type: ignore[arg-type]
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_in_float16_the_limit_means_the_same_as_in_float64() -> None:
    """There the buffer is kept times 1 - momentum."""
    found = []
    for dtype in (torch.float16, torch.float64):
        params = [nn.Parameter(torch.zeros(s, dtype=dtype)) for s in SHAPES]
        list(steps(plain_muon(params, lr=LR, momentum=MOMENTUM, max_momentum_norm=LIMIT), params))
        found.append([p.detach().double() for p in params])
    for half, full in zip(*found, strict=True):
        assert (half - full).norm() < 0.01 * full.norm()


def test_zeros_and_single_tensors_are_limited_alike() -> None:
    tensors = [torch.full((2, 2), 3.0), torch.full((2, 2), 0.1), torch.zeros(3)]
    limit_norms(tensors, 1.0)
    assert [t.norm().item() for t in tensors] == pytest.approx([1.0, 0.2, 0.0])
    limit_norms([], 1.0)


@pytest.mark.parametrize("captured", [False, True])
def test_every_momentum_optimizer_of_a_recipe_takes_the_limit(captured: bool) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    net.append(nn.Linear(2, 2))
    groups: dict[str, schema.Group] = {
        "a": schema.SGD(params="0.*", lr=0.1, max_momentum_norm=0.5),
        "b": schema.Muon(params="1.weight", lr=0.1, max_momentum_norm=0.5, orthogonalize=NoOrthogonalization()),
        "c": schema.NorMuon(params="2.weight", lr=0.1, max_momentum_norm=0.5),
        "d": schema.NormalizedMomentum(params="*", lr=0.1, max_momentum_norm=0.5),
    }
    optimizers = Optimizers(route(net, groups), batch_size=4, total_steps=3, steps_per_epoch=3, captured=captured)
    for step in range(3):
        optimizers.before_step(step)
        for p in net.parameters():
            p.grad = torch.full_like(p, 100.0)
        optimizers.step()
    norms = [s["momentum_buffer"].norm().item() for t in optimizers.trained for s in t.optimizer.state.values()]
    assert len(norms) == 6
    assert all(norm == pytest.approx(0.5, rel=1e-6) for norm in norms)


@pytest.mark.parametrize("knobs", [{"lr": -1.0}, {"momentum": 1.0}, {"weight_decay": -1.0}, {"max_momentum_norm": 0.0}])
def test_knobs_out_of_range_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        LimitedSGD([nn.Parameter(torch.zeros(2))], **({"max_momentum_norm": 1.0} | knobs))


def test_sgd_without_momentum_is_limited_too() -> None:
    """Its buffer is the gradient, which Nesterov's form would step past."""
    config = schema.SGD(params="*", lr=1.0, momentum=0.0, max_momentum_norm=0.1)
    p = nn.Parameter(torch.zeros(4, 5))
    made = Optimizers([ParamGroup("all", config, ("p",), (p,))], batch_size=1, total_steps=1, steps_per_epoch=1)
    p.grad = torch.randn(4, 5)
    made.step()
    assert p.detach().norm() == pytest.approx(0.1)
