"""How steps are executed: the machine decides what the recipe leaves open, and falls back where that fails."""

import weakref
from typing import Any

import pytest
import torch

from airbench.data.dataset import Dataset
from airbench.device import Machine
from airbench.errors import is_out_of_memory
from airbench.experiment.worker import Worker, images_key
from airbench.training import engine, warmup
from airbench.training.engine import EAGER, Execution
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup
from airbench.training.step import GraphStep
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


def test_compiling_too_often_ends_compilation_and_not_in_silence(
    small_shapes: Dataset, cpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch would go on uncompiled, and the run would say that it was compiled."""
    setup = TrialSetup(tiny().recipe, small_shapes, cpu)
    setup.execution, compiled = Execution("default", cuda_graph=False), []

    def compile_often(of: TrialSetup) -> None:
        if of.execution.compile != "none":
            for size in range(2, 6):
                torch.compile(lambda x: x + 1, backend=backend, dynamic=False)(torch.ones(size))

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(inputs)
        return graph.forward

    monkeypatch.setattr(warmup, "_warm_up", compile_often)
    with torch._dynamo.config.patch(recompile_limit=2):
        (note,) = warmup.warm_up(setup)
    assert note.startswith("steps are not compiled, not captured: compiled (default), not captured failed (FailOnRec")
    assert len(compiled) == 2
    assert torch._dynamo.config.fail_on_recompile_limit_hit is False


def test_a_kernel_too_large_for_the_gpu_is_no_lack_of_memory() -> None:
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    large = "out of resource: shared memory, Required: 180224, Hardware limit: 101376. Reducing block sizes may help"
    for words in (large, f"No valid triton configs. OutOfMemoryError: {large}"):
        assert not is_out_of_memory(RuntimeError(words))


def test_what_a_setup_captured_goes_with_it(small_shapes: Dataset) -> None:
    """The captured step and its setup refer to each other."""
    worker, recipe = Worker(datasets={}), tiny().recipe
    worker._datasets[images_key(recipe.data)] = small_shapes
    for drop in (lambda: worker.forget(recipe), worker.forget_all):
        setup = worker.setup(recipe)
        example = next(setup.new_loader(TrialSeeds(0, 0, 0)).epoch(None))
        setup.graph = GraphStep(setup._fresh_step(), example, capture=lambda work: (work, work()))
        net = weakref.ref(setup.net)
        del setup, example
        drop()
        assert net() is None
