"""A matrix that holds several maps is trained as those maps would be, each on its own."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from airbench import Muon
from airbench.errors import RecipeError
from airbench.optim.groups import ParamGroup
from airbench.optim.optimizers import Optimizers
from airbench.optim.orthogonalize import newton_schulz
from airbench.optim.spectra import momentum_spectra
from airbench.recipe import optimizers as schema
from airbench.recipe.orthogonalizers import NewtonSchulz


def exact(x: Tensor) -> Tensor:
    return newton_schulz(x, dtype=torch.float64)


@settings(max_examples=30)
@given(
    config=st.fixed_dictionaries(
        {
            "weight_decay": st.sampled_from([0.0, 0.1]),
            "cautious_weight_decay": st.booleans(),
            "nesterov": st.booleans(),
            "adjust_lr": st.sampled_from(["none", "original", "match_rms_adamw", "spectral"]),
            "neuron_beta": st.sampled_from([None, 0.9]),
        }
    ),
    shape=st.sampled_from([(4, 6), (7, 3), (5, 2, 3, 3)]),
    split=st.sampled_from([1, 2, 3, 6]),
    padded=st.booleans(),
)
def test_blocks_of_rows_train_like_parameters_of_their_own(
    config: dict[str, Any], shape: tuple[int, ...], split: int, padded: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=generator)) for _ in range(split)]
    fused = nn.Parameter(torch.cat([p.detach() for p in parts]))
    other = nn.Parameter(torch.randn(6 * split, 5, dtype=torch.float64, generator=generator))  # of another shape
    one = Muon([fused, other], lr=0.1, split=split, orthogonalize=exact, padded=padded, **config)
    many = Muon(parts, lr=0.1, orthogonalize=exact, padded=padded, **config)
    for _ in range(4):
        for p in parts:
            p.grad = torch.randn(shape, dtype=torch.float64, generator=generator)
        fused.grad = torch.cat([p.grad for p in parts if p.grad is not None])
        other.grad = torch.randn(other.shape, dtype=torch.float64, generator=generator)
        one.step()
        many.step()
    # Moments of neurons are kept in float32.
    tolerance = 1e-9 if config["neuron_beta"] is None else 1e-5
    torch.testing.assert_close(fused, torch.cat(parts), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("split", [3, 9])
def test_in_float32_the_bits_are_those_of_separate_parameters(split: int) -> None:
    """Projections of one shape are one batch of matrices either way."""
    start, gradient = torch.randn(18, 6), torch.randn(18, 6)
    fused, parts = nn.Parameter(start.clone()), [nn.Parameter(t.clone()) for t in start.chunk(split)]
    fused.grad = gradient
    for p, g in zip(parts, gradient.chunk(split), strict=True):
        p.grad = g.clone()
    Muon([fused], lr=0.1, split=split).step()
    Muon(parts, lr=0.1).step()
    assert torch.equal(fused, torch.cat(parts))


def test_flattened_by_inputs_the_rows_are_the_inputs() -> None:
    start, gradient = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    wide, tall = nn.Parameter(start.clone()), nn.Parameter(start.mT.clone())
    wide.grad, tall.grad = gradient, gradient.mT.clone()
    Muon([wide], lr=0.1, flatten="in", split=3, orthogonalize=exact).step()
    Muon([tall], lr=0.1, split=3, orthogonalize=exact).step()
    torch.testing.assert_close(wide.mT, tall)


def counted(split: int, calls: list[torch.Size]) -> Muon:
    def orthogonalize(x: Tensor) -> Tensor:
        calls.append(x.shape)
        return x

    ps = [nn.Parameter(torch.randn(12, 4)) for _ in range(5)]
    for p in ps:
        p.grad = torch.randn_like(p)
    return Muon(ps, lr=0.1, split=split, orthogonalize=orthogonalize)


def test_blocks_of_all_parameters_are_orthogonalised_in_one_call() -> None:
    calls: list[torch.Size] = []
    counted(3, calls).step()
    assert calls == [torch.Size((5, 3, 4, 4))]


def optimizers(split: int) -> Optimizers:
    config = schema.Muon(name="muon", params="*", lr=0.1, orthogonalize=NewtonSchulz(split=split))
    p = nn.Parameter(torch.randn(12, 4))
    group = ParamGroup("maps", config, ("a.qkv.weight",), (p,))
    made = Optimizers([group], batch_size=1, total_steps=2, steps_per_epoch=1)
    p.grad = torch.randn(12, 4)
    return made


def test_a_recipes_split_reaches_muon_and_the_spectra() -> None:
    made = optimizers(3)
    made.step()
    assert made.trained[0].optimizer.param_groups[0]["split"] == 3
    assert len(momentum_spectra(made)["a.qkv.weight"]["before"]) == 3 * 4


def test_a_split_that_does_not_divide_is_answered_in_one_line() -> None:
    said = r"optimizers.maps.orthogonalize.split = 5: a.qkv.weight has 12 rows"
    with pytest.raises(RecipeError, match=said) as error:
        optimizers(5)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="split = 5 does not divide the 12 rows"):
        Muon([nn.Parameter(torch.randn(12, 4))], split=5)


def test_split_and_operator_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="flatten = operator makes none"):
        Muon([{"params": [nn.Parameter(torch.randn(6, 4, 3, 3))], "flatten": "operator", "split": 3}])
    config = schema.Muon(params="*", lr=0.1, flatten="operator", orthogonalize=NewtonSchulz(split=3))
    group = ParamGroup("maps", config, ("a",), (nn.Parameter(torch.randn(6, 4, 3, 3)),))
    with pytest.raises(RecipeError, match=r"optimizers.maps.orthogonalize.split = 3: flatten = operator"):
        Optimizers([group], batch_size=1, total_steps=2, steps_per_epoch=1)
