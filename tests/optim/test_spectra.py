"""Spectra by hand, for every way to flatten."""

import pytest
import torch

from airbench.optim.groups import ParamGroup
from airbench.optim.optimizers import Optimizers
from airbench.optim.spectra import momentum_spectra
from airbench.recipe.optimizers import SGD, Muon
from airbench.recipe.orthogonalizers import SVD


@pytest.mark.parametrize("flatten", ["out", "in", "position"])
def test_spectra_are_those_of_the_momentum_as_it_is_orthogonalised(flatten: str) -> None:
    config = Muon(name="muon", params="w", lr=0.1, flatten=flatten, orthogonalize=SVD(method="svd"))  # type: ignore[arg-type]
    p = torch.nn.Parameter(torch.randn(4, 3, 2, 2))
    optimizers = Optimizers([ParamGroup("all", config, ("w",), (p,))], batch_size=1, total_steps=9, steps_per_epoch=1)
    p.grad = torch.randn_like(p)
    buffer = p.grad.clone()  # after one step from zero
    optimizers.before_step(0)
    optimizers.step()
    matrices = {
        "out": buffer.reshape(4, 12)[None],
        "in": torch.stack([buffer[:, i].reshape(-1) for i in range(3)])[None],
        "position": torch.stack([buffer[:, :, i, j] for i in range(2) for j in range(2)]),
    }[flatten]
    expected = torch.linalg.svdvals(matrices).flatten()
    found = momentum_spectra(optimizers)["w"]
    assert found["before"] == pytest.approx((expected / expected.max()).tolist(), rel=1e-3)
    assert found["after"] == pytest.approx([1.0] * len(expected), abs=1e-3)


def test_values_far_below_the_largest_are_kept() -> None:
    p = torch.nn.Parameter(torch.eye(2))
    optimizers = Optimizers(
        [ParamGroup("all", Muon(name="muon", params="w", lr=0.1), ("w",), (p,))],
        batch_size=1,
        total_steps=9,
        steps_per_epoch=1,
    )
    p.grad = torch.diag(torch.tensor([1.0, 1e-7]))
    optimizers.step()
    assert momentum_spectra(optimizers)["w"]["before"] == pytest.approx([1, 1e-7], rel=1e-3)


def test_without_muon_there_are_none() -> None:
    p = torch.nn.Parameter(torch.eye(2))
    sgd = SGD(name="sgd", params="w", lr=0.1)
    optimizers = Optimizers([ParamGroup("all", sgd, ("w",), (p,))], batch_size=1, total_steps=9, steps_per_epoch=1)
    assert momentum_spectra(optimizers) == {}
