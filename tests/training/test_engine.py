"""How steps are executed: the machine decides what the recipe leaves open, and falls back where that fails."""

import pytest
import torch

from airbench.data.dataset import Dataset
from airbench.device import Machine
from airbench.training import engine, warmup
from airbench.training.engine import EAGER, Execution
from airbench.training.setup import TrialSetup
from tests.conftest import tiny

GPU = Machine(torch.device("cuda"), torch.float16)
SVD = "optimizers.filters.orthogonalize.method=svd"


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "why_no_triton", lambda device: None)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), Execution("default", cuda_graph=True)),
        (("engine.compile=none",), Execution("none", cuda_graph=True)),
        (("engine.cuda_graph=false",), Execution("default", cuda_graph=False)),
        (("engine.compile=max-autotune",), Execution("max-autotune", cuda_graph=True)),
        (
            (SVD,),
            Execution(
                "default",
                cuda_graph=False,
                note="a CUDA graph cannot capture orthogonalize.method = svd, of optimizers.filters",
            ),
        ),
    ],
)
def test_cuda_takes_the_fast_path_unless_the_recipe_says_otherwise(
    overrides: tuple[str, ...], expected: Execution, compiles: None
) -> None:
    assert Execution.choose(tiny("airbench94_muon.yaml", *overrides).recipe, GPU) == expected


def test_without_triton_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "why_no_triton", lambda device: "Triton is not installed")
    chosen = Execution.choose(tiny().recipe, GPU)
    assert (chosen.compile, chosen.cuda_graph) == ("none", True)
    assert str(chosen) == "not compiled, captured as a CUDA graph (Triton is not installed)"


def test_a_cpu_takes_steps_as_they_are(cpu: Machine) -> None:
    assert Execution.choose(tiny().recipe, cpu) == EAGER


class FakeCompilerError(Exception):
    pass


FakeCompilerError.__module__ = "torch._inductor.exc"


def test_what_fails_in_the_warm_up_is_left_out_and_said(
    small_shapes: Dataset, cpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = TrialSetup(tiny().recipe, small_shapes, cpu)
    setup.execution = Execution("default", cuda_graph=True)
    errors = [FakeCompilerError("no\nTriton"), RuntimeError("operation not permitted when stream is capturing")]
    seen = []

    def fail(of: TrialSetup) -> None:
        seen.append(of.execution)
        if errors:
            raise errors.pop(0)

    monkeypatch.setattr(warmup, "_warm_up", fail)
    notes = warmup.warm_up(setup)
    assert seen == [Execution("default", True), Execution("none", True), EAGER]
    assert "FakeCompilerError: no Triton" in notes[0]
    assert notes[1].startswith("steps are not compiled, not captured: not compiled, captured as a CUDA graph failed")


def test_what_the_recipe_asks_for_is_not_replaced(
    small_shapes: Dataset, cpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = TrialSetup(tiny("airbench94_muon.yaml", "engine.compile=default").recipe, small_shapes, cpu)

    def fail(of: TrialSetup) -> None:
        raise FakeCompilerError("no Triton")

    monkeypatch.setattr(warmup, "_warm_up", fail)
    with pytest.raises(FakeCompilerError):
        warmup.warm_up(setup)


def test_a_triton_kernel_without_triton_is_said_in_the_runs_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "why_no_triton", lambda device: "Triton does not support Windows")
    words = ("optimizers.filters.orthogonalize.kernel=triton", "engine.compile=none")
    chosen = Execution.choose(tiny("airbench94_muon.yaml", *words).recipe, GPU)
    assert chosen.note == "orthogonalize.kernel is torch: Triton does not support Windows"
