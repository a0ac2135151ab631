"""Muon's successors against references written out in float64."""

import pytest
import torch
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.optim.decay import decay_cautiously
from airbench.optim.muon import Muon
from airbench.optim.orthogonalize import svd
from airbench.recipe import load_recipe


def gradients(step: int, shape: tuple[int, ...] = (6, 10)) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    scale = torch.linspace(0.2, 3, shape[0]).reshape(-1, *[1] * (len(shape) - 1))  # rows of unlike size
    return (torch.randn(shape, generator=generator) * scale).double()


def run(optimizer: torch.optim.Optimizer, p: nn.Parameter, steps: int) -> Tensor:
    for step in range(steps):
        p.grad = gradients(step, tuple(p.shape)).to(p.dtype)
        optimizer.step()
    return p.detach()


def normuon_by_paper(start: Tensor, steps: int, lr: float, momentum: float, beta: float, decay: float) -> Tensor:
    """Li et al. 2025, algorithm 1, with an exact orthogonal factor: the step has 0.2 · lr · √(mn) as its norm."""
    w, buffer, v = start.clone(), torch.zeros_like(start), torch.zeros(len(start), 1, dtype=torch.float64)
    m, n = start.shape
    for step in range(steps):
        buffer = momentum * buffer + (1 - momentum) * gradients(step)
        u, _, vt = torch.linalg.svd(buffer, full_matrices=False)
        factor = u @ vt
        v = beta * v + (1 - beta) * factor.square().mean(1, keepdim=True)
        factor = factor / (v.sqrt() + 1e-8)
        w = w * (1 - lr * decay) - 0.2 * lr * (m * n) ** 0.5 / factor.norm() * factor
    return w


def test_normuon_is_the_papers() -> None:
    start = gradients(99)
    p = nn.Parameter(start.clone())
    optimizer = Muon(
        [p], lr=0.1, momentum=0.9, momentum_convention="lerp", nesterov=False, weight_decay=0.5,
        adjust_lr="match_rms_adamw", neuron_beta=0.95, orthogonalize=svd,
    )  # fmt: skip
    expected = normuon_by_paper(start, 12, 0.1, 0.9, 0.95, 0.5)
    torch.testing.assert_close(run(optimizer, p, 12), expected, rtol=1e-5, atol=1e-6)


def test_a_neurons_updates_even_out_and_the_matrix_keeps_its_size() -> None:
    plain, normal = (nn.Parameter(torch.zeros(6, 4)) for _ in range(2))
    before = [
        run(Muon([plain], lr=1.0, momentum=0.0), plain, 1),
        run(Muon([normal], lr=1.0, momentum=0.0, neuron_beta=0.0), normal, 1),
    ]
    torch.testing.assert_close(before[1].norm(), before[0].norm())
    rows = [update.norm(dim=1) for update in before]
    assert rows[0].std() > 0.1 * rows[0].mean()  # six rows of rank four cannot all be orthonormal
    torch.testing.assert_close(rows[1], rows[1].mean().expand(6), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("flatten", ["out", "in", "position"])
@pytest.mark.parametrize("padded", [False, True])
def test_filters_are_normalised_in_every_way_to_flatten_them(flatten: str, padded: bool) -> None:
    ps = [nn.Parameter(torch.zeros(shape)) for shape in ((8, 4, 3, 3), (4, 8, 3, 3))]
    optimizer = Muon(ps, lr=0.1, neuron_beta=0.9, flatten=flatten, padded=padded)
    for p in ps:
        p.grad = gradients(0, tuple(p.shape)).float()
    for _ in range(2):
        optimizer.step()
    assert all(p.isfinite().all() and p.abs().sum() > 0 for p in ps)


def test_cautious_decay_spares_what_the_update_moves_away_from_zero() -> None:
    p = torch.tensor([1.0, -1.0, 1.0, -1.0, 0.0])
    decay_cautiously(p, torch.tensor([0.5, 0.5, -0.5, -0.5, 0.5]), 0.1)
    assert p.tolist() == pytest.approx([0.9, -1.0, 1.0, -0.9, 0.0])
    q = torch.tensor([1.0, -1.0])
    decay_cautiously(q, torch.tensor([0.5, 0.5]), torch.tensor(0.1))  # lr on the device
    assert q.tolist() == pytest.approx([0.9, -1.0])


def test_muon_decays_cautiously_as_a_loop_does() -> None:
    start = gradients(50)
    p = nn.Parameter(start.clone())
    optimizer = Muon(
        [p], lr=0.1, momentum=0.0, nesterov=False, weight_decay=2.0, cautious_weight_decay=True, orthogonalize=svd
    )
    expected = start.clone()
    for step in range(5):
        u, _, vt = torch.linalg.svd(gradients(step), full_matrices=False)
        update = u @ vt
        for i in range(expected.shape[0]):
            for j in range(expected.shape[1]):
                if expected[i, j] * update[i, j] >= 0:
                    expected[i, j] *= 1 - 0.1 * 2.0
        expected -= 0.1 * update
    torch.testing.assert_close(run(optimizer, p, 5), expected, rtol=1e-6, atol=1e-7)


def test_cautious_decay_of_nothing_is_refused() -> None:
    said = r"optimizers\.filters\.cautious_weight_decay = true: weight_decay of the same group is 0, .* decayed; give"
    with pytest.raises(RecipeError, match=said):
        load_recipe("airbench94_muon", ["optimizers.filters.cautious_weight_decay=true"])
    words = ["optimizers.filters.cautious_weight_decay=true", "optimizers.filters.weight_decay=0.1"]
    assert load_recipe("airbench94_muon", words).recipe.optimizers["filters"].decay_share() > 0


def test_recipes_can_name_them() -> None:
    for name, key, value in (
        ("normuon", "neuron_beta", 0.95),
        ("cautious_weight_decay", "cautious_weight_decay", True),
    ):
        assert getattr(load_recipe(name).recipe.optimizers["filters"], key) == value
