"""Symmetric products: the Triton kernel in its interpreter against float64, and what chooses it."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from airbench.data.transforms import ImageShape
from airbench.kernels import symmetric
from airbench.kernels.symmetric import BLOCKS, TORCH, gram, gram_polynomial
from airbench.net.base import build_net
from airbench.optim.groups import route
from airbench.recipe import load_recipe
from airbench.training.setup import net_context
from tests.conftest import CONFIGS

with_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


def recipe_shapes() -> list[tuple[int, int]]:
    """Every shape of matrix that Muon orthogonalises in a shipped recipe, wide."""
    found = set()
    for path in [*(CONFIGS / "records").glob("*.yaml"), *CONFIGS.glob("*.yaml")]:
        recipe = load_recipe(path).recipe
        net = build_net(recipe.net, net_context(recipe, ImageShape(32, 3, 10)), torch.device("meta"), torch.float32)
        for group in route(net, recipe.optimizers):
            if group.config.name == "muon":
                found |= {tuple(sorted(p.flatten(1).shape)) for p in group.params}
    return sorted((m, n) for m, n in found)


RAGGED = ((1, 1), (10, 256), (24, 27), (31, 100), (64, 216), (65, 63), (130, 200), (256, 2304))


def interpreted(cases: list[tuple[object, ...]], program: str = "interpreted") -> list[tuple[Any, ...]]:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.kernels.{program}"],
        cwd=CONFIGS.parent,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@with_triton
def test_the_kernel_is_exact_but_for_one_rounding_on_every_shape_of_the_recipes() -> None:
    """Sums are float32, so that the result is the exact one, rounded; where two roundings are as near, it may be off.

    The interpreter truncates to bfloat16, which is off by up to twice as much. Blocks of every size; small shapes with
    several, and transposed matrices, whose rows are not contiguous.
    """
    shapes = {*recipe_shapes(), *RAGGED}
    assert {(64, 216), (64, 576), (256, 2304)} <= shapes
    cases: list[tuple[object, ...]] = []
    for turn, (m, n) in enumerate(sorted(shapes)):
        block = 128 if m > 130 else BLOCKS[turn % 3]
        dtype = ("float16", "bfloat16")[turn % 2]
        count = 1 if m > 130 else 3
        cases += [(count, m, n, dtype, block, polynomial, turn % 2 == 1) for polynomial in (False, True)]
    cases += [(2, 33, 70, dtype, block, True, False) for dtype in ("float16", "bfloat16") for block in BLOCKS]
    for case, (error, rounding, is_symmetric) in zip(cases, interpreted(cases), strict=True):
        assert error <= (2.1 if "bfloat16" in case else 1.02) * rounding + 1e-6, case
        assert is_symmetric, case


@with_triton
@pytest.mark.parametrize("how", ["gram", "aol"])
def test_normalisation_multiplies_its_first_product_by_the_kernel_that_is_asked_for(how: str) -> None:
    cases: list[tuple[object, ...]] = [
        (2, m, n, dtype, how) for m, n in ((10, 30), (65, 63)) for dtype in ("float16", "bfloat16")
    ]
    for case, (called, errors) in zip(cases, interpreted(cases, "interpreted_normalization"), strict=True):
        assert called == 1, case
        assert max(errors) <= 4, case  # the interpreter truncates to bfloat16, and the result is rounded again


@with_triton
@pytest.mark.parametrize("capability", [80, 90])
def test_the_kernel_compiles_for_gpus_that_are_not_here(capability: int) -> None:
    from airbench.kernels.symmetric_triton import compiled_for

    try:
        found = compiled_for(capability, torch.bfloat16, 64, True)
    except RuntimeError as error:
        if not str(error).startswith("Cannot find"):  # the assembler, which not every installation brings
            raise
        pytest.skip(f"Triton cannot compile here: {error}")
    assert ".target sm_" in found.asm["ptx"]
    assert "mma" in found.asm["ptx"]  # tensor cores multiply


@pytest.mark.parametrize("kernel", ["torch", "triton", "auto"])
def test_a_cpu_multiplies_by_pytorch(kernel: str) -> None:
    x = torch.randn(2, 5, 9).bfloat16()
    assert torch.equal(gram(x, kernel), x @ x.mT)
    a = gram(x)
    assert torch.equal(gram_polynomial(a, -4.0, 2.0, kernel), torch.baddbmm(a, a, a, beta=-4.0, alpha=2.0))
    assert symmetric.choices() == {}


@pytest.mark.parametrize(
    ("fastest", "chosen"), [(TORCH, "torch"), (32, "triton, blocks of 32"), (128, "triton, blocks of 128")]
)
def test_auto_measures_a_shape_once_and_keeps_to_the_faster(
    fastest: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    computed: list[int] = []

    def product(x: Tensor, block: int) -> Tensor:
        computed.append(block)
        return x

    def seconds(work: object) -> float:
        measured.append(work.args[1])  # type: ignore[attr-defined]
        return 1.0 if measured[-1] == fastest else 2.0

    monkeypatch.setattr(symmetric, "_choices", {})
    monkeypatch.setattr(symmetric, "takes", lambda x: True)
    monkeypatch.setattr(symmetric, "_seconds", seconds)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: not measured and capturing)
    x = torch.zeros(6, 64, 216, dtype=torch.bfloat16)
    capturing = True
    symmetric._compute(product, x, "auto")
    assert (computed, measured, symmetric.choices()) == ([TORCH], [], {})  # nothing is measured in a capture
    capturing = False
    for _ in range(2):
        symmetric._compute(product, x, "auto")
    assert computed[1:] == [fastest, fastest]
    assert measured == [TORCH, *BLOCKS]
    assert symmetric.choices() == {"b A + c A A, 6x64x216, bfloat16": chosen}
