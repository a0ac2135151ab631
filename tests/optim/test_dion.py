"""Dion against its algorithm written out in float64 for one matrix, with QR and with the orthogonal factor."""

import copy

import pytest
import torch
from torch import Tensor, nn

from airbench.optim.dion import Dion, _start
from airbench.optim.orthogonalize import svd
from airbench.recipe import load_recipe

LR, MOMENTUM, DECAY = 0.1, 0.8, 0.2


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def reference(start: Tensor, steps: int, rank: int, qr: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Ahn et al. 2025, algorithm 1, but with R's orthogonal factor for its normalised columns.

    Returns weights, momentum, and each step's projection P Pᵀ.
    """
    m, n = start.shape
    x, momentum, q = start.clone(), torch.zeros_like(start), _start(n, rank, start.dtype, start.device)
    projections = []
    for step in range(steps):
        b = momentum + random(m, n, seed=step)
        if qr:
            p = torch.linalg.qr(b @ q).Q
        else:
            u, _, vh = torch.linalg.svd(b @ q, full_matrices=False)
            p = u @ vh
        r = b.T @ p
        momentum = b - (1 - MOMENTUM) * p @ r.T
        u, _, vh = torch.linalg.svd(r, full_matrices=False)
        q = u @ vh
        x = x * (1 - LR * DECAY) - LR * (m / n) ** 0.5 * p @ q.T
        projections.append(p @ p.T)
    return x, momentum, projections


def run(start: Tensor, steps: int, fraction: float, **knobs: object) -> tuple[Tensor, Tensor]:
    p = nn.Parameter(start.clone())
    dion = Dion([p], LR, MOMENTUM, rank_fraction=fraction, weight_decay=DECAY, **knobs)  # type: ignore[arg-type]
    for step in range(steps):
        p.grad = random(*start.shape, seed=step)
        dion.step()
    return p.detach(), dion.state[p]["momentum_buffer"]


@pytest.mark.parametrize(("shape", "rank"), [((8, 12), 2), ((12, 8), 4), ((8, 8), 8)])
@pytest.mark.parametrize("qr", [True, False])
def test_steps_are_those_of_the_algorithm_whatever_the_basis(shape: tuple[int, int], rank: int, qr: bool) -> None:
    start = random(*shape, seed=99)
    expected, momentum, _ = reference(start, 8, rank, qr)
    for knobs, tolerance in (({"orthonormalize": svd}, 1e-8), ({}, 2e-2)):
        found, buffer = run(start, 8, rank / min(shape), **knobs)
        assert (found - expected).norm() <= tolerance * (expected - start).norm()
        assert (buffer - momentum).norm() <= tolerance * momentum.norm()


def test_the_first_momentum_is_the_papers_with_qr() -> None:
    """Both orthonormalise a basis of the same space, so that what is taken out of the momentum is the same."""
    start = random(8, 12, seed=99)
    found, momentum, projections = reference(start, 1, 3, qr=True)
    ours, buffer = run(start, 1, 3 / 8, orthonormalize=svd)
    torch.testing.assert_close(buffer, momentum, rtol=1e-9, atol=1e-9)
    for moved in (found - start * (1 - LR * DECAY), ours - start * (1 - LR * DECAY)):
        torch.testing.assert_close(projections[0] @ moved, moved, rtol=1e-8, atol=1e-9)  # within that space


def test_an_update_has_its_rank_and_the_rest_stays_in_the_momentum() -> None:
    p = nn.Parameter(torch.zeros(10, 6, 3, 3, dtype=torch.float64))
    dion = Dion([p], 1.0, 0.0, rank_fraction=0.2, orthonormalize=svd)
    p.grad = random(10, 6, 3, 3)
    dion.step()
    values = torch.linalg.svdvals(p.detach().flatten(1))
    assert (values > 1e-9 * values[0]).sum() == 2
    left = dion.state[p]["momentum_buffer"]
    assert torch.linalg.matrix_rank(left) == 8  # ten minus the two that were used
    used = p.grad.flatten(1) - left
    assert torch.allclose(used.T @ left, torch.zeros(54, 54, dtype=torch.float64), atol=1e-9)


def test_zeros_and_a_reset_state_start_afresh() -> None:
    """Zeros everywhere move nothing and stop nothing: the next gradient is followed as the first would be."""
    p, q = (nn.Parameter(random(6, 9, seed=5)) for _ in range(2))
    once, again = Dion([p], LR), Dion([q], LR)
    q.grad = torch.zeros_like(q)
    again.step()
    assert torch.equal(p, q)
    q.grad = random(6, 9, seed=1)
    again.step()
    with torch.no_grad():
        q.copy_(p)
        for value in again.state[q].values():
            value.zero_()
    p.grad, q.grad = random(6, 9, seed=2), random(6, 9, seed=2)
    once.step()
    again.step()
    assert torch.equal(p, q)
    assert not torch.equal(p, random(6, 9, seed=5))


def test_another_rank_starts_its_factor_afresh() -> None:
    p = nn.Parameter(random(6, 9, seed=5))
    dion = Dion([p], LR, rank_fraction=0.25)
    for fraction in (0.25, 0.5, 1.0):
        dion.param_groups[0]["rank_fraction"] = fraction
        p.grad = random(6, 9, seed=1)
        dion.step()
        assert dion.state[p]["right_factor"].shape == (9, {0.25: 2, 0.5: 3, 1.0: 6}[fraction])


def test_many_at_once_equal_one_at_a_time_in_every_precision() -> None:
    shapes = ((4, 3, 3, 3), (4, 27), (6, 5), (4, 27))
    for dtype in (torch.float32, torch.bfloat16):
        together = [nn.Parameter(random(*s, seed=i).to(dtype)) for i, s in enumerate(shapes)]
        alone = [nn.Parameter(p.detach().clone()) for p in together]
        optimizers = [Dion(together, LR, rank_fraction=0.5), *(Dion([p], LR, rank_fraction=0.5) for p in alone)]
        for step in range(3):
            for i, (p, q) in enumerate(zip(together, alone, strict=True)):
                p.grad = random(*p.shape, seed=10 * step + i).to(dtype)
                q.grad = p.grad.clone()
            for optimizer in optimizers:
                optimizer.step()
        for p, q in zip(together, alone, strict=True):
            torch.testing.assert_close(p, q)
            assert p.isfinite().all()


def test_the_momentum_is_limited_and_copies_step_alike() -> None:
    p = nn.Parameter(torch.zeros(4, 6))
    dion = Dion([p], LR, max_momentum_norm=0.5)
    other = copy.deepcopy(dion)
    (q,) = other.param_groups[0]["params"]
    p.grad = q.grad = 100 * random(4, 6).float()
    dion.step()
    other.step()
    assert dion.state[p]["momentum_buffer"].norm() <= 0.5
    assert torch.equal(p, q)


@pytest.mark.parametrize("knobs", [{"lr": -1.0}, {"momentum": 1.0}, {"rank_fraction": 0.0}, {"weight_decay": -1.0}])
def test_knobs_out_of_range_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Dion([nn.Parameter(torch.zeros(2, 2))], **knobs)  # type: ignore[arg-type]


def test_a_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two dimensions"):
        Dion([nn.Parameter(torch.zeros(3))])


def test_the_ablation_names_it() -> None:
    assert load_recipe("dion").recipe.optimizers["filters"].name == "dion"


@pytest.mark.parametrize(("decay", "fraction"), [(1.0, 1.0), (0.9, 1.0), (0.5, 0.25)])
@pytest.mark.parametrize("exact", [True, False])
def test_the_singular_values_of_every_update_are_one(decay: float, fraction: float, exact: bool) -> None:
    """Whatever the spectrum of the gradients, as Dion's authors have it once their iteration has converged."""
    u, v = torch.linalg.qr(random(32, 32)).Q, torch.linalg.qr(random(48, 32, seed=1)).Q
    gradient = u @ torch.diag(decay ** torch.arange(32.0, dtype=torch.float64)) @ v.T
    p = nn.Parameter(torch.zeros(32, 48, dtype=torch.float64))
    dion = Dion([p], 1.0, 0.9, rank_fraction=fraction, **({"orthonormalize": svd} if exact else {}))  # type: ignore[arg-type]
    for step in range(20):
        before = p.detach().clone()
        p.grad = gradient + 0.02 * random(32, 48, seed=step)
        dion.step()
        values = torch.linalg.svdvals((p.detach() - before) * (48 / 32) ** 0.5)[: round(32 * fraction)]
        assert values.max() < 1.1
        assert (values > 0.9).double().mean() >= (1 if exact else 0.8)  # the matrix products leave the faintest small


@pytest.mark.parametrize(
    ("fraction", "size", "rank"), [(0.07, 100, 7), (0.14, 50, 7), (0.55, 100, 55), (0.101, 10, 2), (1e-30, 10, 1)]
)
def test_the_rank_is_the_fraction_rounded_up_but_for_the_last_bits(fraction: float, size: int, rank: int) -> None:
    p = nn.Parameter(torch.randn(size, size + 1, generator=torch.Generator().manual_seed(0)))
    dion = Dion([p], 0.1, 0.9, rank_fraction=fraction)
    p.grad = torch.ones_like(p)
    dion.step()
    assert dion.state[p]["right_factor"].shape[-1] == rank
