"""Scion against its algorithm written out in float64, and what each of its norms promises."""

import copy

import pytest
import torch
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.optim.groups import OptimizerContext, route
from airbench.optim.orthogonalize import svd
from airbench.optim.scion import Scion, build
from airbench.recipe import load_recipe
from airbench.recipe import optimizers as schema

LR, MOMENTUM, RADIUS = 0.1, 0.7, 3.0
SHAPES = {"matrix": (6, 4), "filters": (4, 3, 3, 3), "vector": (5,)}


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def minimiser(norm: str, d: Tensor) -> Tensor:
    """The paper's table of linear minimisation oracles, with the sign turned."""
    if norm == "sign":
        inputs = d[0].numel()
        return torch.where(d > 0, 1.0, -1.0).double() / inputs
    if norm == "rms":
        return d / d.square().mean().sqrt()
    u, _, vh = torch.linalg.svd(d.flatten(1), full_matrices=False)
    positions = d[0, 0].numel()
    return (len(d) / d.shape[1]) ** 0.5 / positions * (u @ vh).reshape(d.shape)


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize(
    ("shape", "norm", "means"),
    [
        ("matrix", "spectral", "spectral"), ("filters", "spectral", "spectral"), ("matrix", "sign", "sign"),
        ("filters", "sign", "sign"), ("vector", "rms", "rms"), ("vector", "auto", "rms"),
        ("matrix", "auto", "spectral"), ("filters", "auto", "spectral"),
    ],
)  # fmt: skip
def test_steps_are_the_papers(shape: str, norm: str, means: str, constrained: bool) -> None:
    """Algorithms 1 and 2: d ← (1 - α) d + α g; x ← x + γ lmo(d), or x ← (1 - γ) x + γ lmo(d)."""
    start = random(SHAPES[shape], 99)
    p = nn.Parameter(start.clone())
    scion = Scion([p], LR, MOMENTUM, norm=norm, radius=RADIUS, constrained=constrained, orthogonalize=svd)
    x, d = start.clone(), torch.zeros_like(start)
    for step in range(10):
        p.grad = random(SHAPES[shape], step)
        scion.step()
        d = MOMENTUM * d + (1 - MOMENTUM) * p.grad
        x = (1 - LR if constrained else 1) * x - LR * RADIUS * minimiser(means, d)
    torch.testing.assert_close(p.detach(), x, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("width", [8, 64])
def test_a_spectral_step_changes_outputs_alike_at_every_width(width: int) -> None:
    """Of inputs of root mean square 1, the outputs' changes have at most lr, whatever the width."""
    p = nn.Parameter(torch.zeros(2 * width, width, dtype=torch.float64))
    p.grad = random((2 * width, width), 1)
    Scion([p], LR, norm="spectral", orthogonalize=svd).step()
    _, values, vh = torch.linalg.svd(p.detach())
    inputs = vh[0] * width**0.5  # the direction that changes most, scaled to a root mean square of 1
    torch.testing.assert_close((p.detach() @ inputs).square().mean().sqrt().item(), LR)
    torch.testing.assert_close(values.max(), values.min())


def test_constrained_weights_stay_in_the_ball() -> None:
    p = nn.Parameter(torch.zeros(6, 4, dtype=torch.float64))
    scion = Scion([p], 0.3, 0.5, norm="spectral", radius=RADIUS, orthogonalize=svd)
    for step in range(50):
        p.grad = random((6, 4), step % 3)
        scion.step()
        assert torch.linalg.matrix_norm(p.detach(), 2) <= RADIUS * (6 / 4) ** 0.5 + 1e-9


def test_the_momentum_is_limited_and_copies_step_alike() -> None:
    p = nn.Parameter(torch.zeros(4, 4))
    scion = Scion([p], LR, max_momentum_norm=0.01)
    other = copy.deepcopy(scion)
    (q,) = other.param_groups[0]["params"]
    p.grad = random((4, 4), 0).float()
    q.grad = p.grad.clone()
    scion.step()
    other.step()
    assert scion.state[p]["momentum_buffer"].norm().item() == pytest.approx(0.01)
    assert torch.equal(p, q)


def test_lr_may_be_a_tensor_on_the_device() -> None:
    weights = []
    for lr in (LR, torch.tensor(LR)):
        params = [nn.Parameter(random(shape, 7).float()) for shape in SHAPES.values()]
        scion = Scion(params)
        scion.param_groups[0]["lr"] = lr
        for p in params:
            p.grad = random(tuple(p.shape), 8).float()
        scion.step()
        weights.append(params)
    for a, b in zip(*weights, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("knobs", [{"lr": -1.0}, {"momentum": 1.0}, {"norm": "max"}, {"radius": 0.0}])
def test_knobs_out_of_range_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Scion([nn.Parameter(torch.zeros(2, 2))], **knobs)  # type: ignore[arg-type]


def test_the_spectral_norm_of_a_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more dimensions"):
        Scion([nn.Parameter(torch.zeros(3))], norm="spectral")
    (group,) = route(nn.Linear(2, 2), {"all": schema.Scion(params="*", lr=0.1, norm="spectral")})
    with pytest.raises(RecipeError, match=r"optimizers\.all.norm = spectral: not a matrix: bias"):
        build(group.config, group, OptimizerContext(4, torch.float32, False))  # type: ignore[arg-type]


def test_the_ablation_trains_every_parameter_by_it() -> None:
    assert {group.name for group in load_recipe("scion").recipe.optimizers.values()} == {"scion"}


def test_split_is_refused_and_not_ignored() -> None:
    from airbench.errors import RecipeError
    from airbench.optim.groups import ParamGroup
    from airbench.optim.optimizers import Optimizers
    from airbench.recipe import optimizers as schema
    from airbench.recipe.orthogonalizers import NewtonSchulz

    config = schema.Scion(params="*", lr=0.1, orthogonalize=NewtonSchulz(split=2))
    group = ParamGroup("maps", config, ("a",), (nn.Parameter(torch.randn(6, 4)),))
    with pytest.raises(RecipeError, match=r"optimizers\.maps\.orthogonalize\.split = 2: scion splits no matrices"):
        Optimizers([group], batch_size=1, total_steps=2, steps_per_epoch=1)
