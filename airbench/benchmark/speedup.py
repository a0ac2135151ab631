"""This harness against plain PyTorch: start-up, training step and evaluation, each side in its own processes.

Plain: the same recipe with PyTorch's own operations, launched one by one, in a process with PyTorch's default settings:
on a CPU without the compiled kernels and with the C library's allocator, on CUDA without compilation, CUDA graphs and
cuDNN's search for the fastest algorithms.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch

from airbench.benchmark.step import with_engine
from airbench.data.sources import load_dataset
from airbench.device import choose_machine, prepare
from airbench.errors import AirbenchError
from airbench.recipe import Recipe, load_recipe
from airbench.recipe.load import dump_recipe
from airbench.recipe.plugins import load_plugin, loaded_plugins
from airbench.training.callback import Callback
from airbench.training.clock import Clock
from airbench.training.evaluate import predict
from airbench.training.loop import run_trial
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup
from airbench.training.timing import Spread, ratios, seconds_of, wait
from airbench.training.warmup import warm_up

STEPS, IMAGES = 5, 2000
"""Steps after the first one, and number of test images evaluated."""


@dataclass(frozen=True)
class Figures:
    """Measurements of one process."""

    start: float
    """Seconds from the start of the process to the end of the first timed step; on CUDA that is after a whole trial as
    warm-up."""
    step: float
    """Seconds of a later training step, including its batch."""
    views: float
    """Seconds to evaluate all views of IMAGES test images."""
    quarter: float
    """Seconds to evaluate one view of them, and all views of the least certain quarter."""
    memory: float
    """Peak memory in GB: of the process on a CPU, of its tensors on CUDA."""
    faults: float
    """Page faults, in thousands."""


LABELS = {
    "start": "start to end of the first timed step, warm-up included, s",
    "step": "training step, s",
    "views": f"all views of {IMAGES:,} images, s",
    "quarter": "one view of them, all of a quarter, s",
    "memory": "peak memory, GB",
    "faults": "page faults, thousands",
}
"""Labels of the figures in the table."""


class _SeenEnoughError(Exception):
    """Raised to stop training after enough steps."""


class _Watcher(Callback):
    """Record when the first step ended, and put each later one on a clock of its own."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.first_end = 0.0
        """In the units of ``time.time``."""
        self.clocks: list[Clock] = []

    def on_step(self, step: int, total: int) -> None:
        if self.clocks:
            self.clocks[-1].__exit__(None, None, None)
        else:
            wait(self.device)
            self.first_end = time.time()
        if len(self.clocks) == STEPS or step == total:
            raise _SeenEnoughError
        self.clocks.append(Clock(self.device).__enter__())


def measure(recipe: Recipe, *, plainly: bool, started: float) -> Figures:
    """Measure the figures of this process, which began at ``started`` (in the units of ``time.time``)."""
    import resource

    machine = choose_machine(recipe.engine)
    if not plainly:
        prepare(machine)
    elif machine.device.type == "cuda":
        torch.cuda.set_device(machine.device.index or 0)
    setup = TrialSetup(recipe, load_dataset(recipe.data), machine)
    for note in warm_up(setup):
        raise AirbenchError(note)  # the table would show another way to execute steps than it says
    watcher = _Watcher(machine.device)
    with suppress(_SeenEnoughError):
        run_trial(setup, TrialSeeds(0, 0, 0), watcher)
    images = setup.test.normalized(machine.dtype, IMAGES)
    whole = recipe.evaluate.model_copy(update={"uncertain": 1.0})
    quarter = recipe.evaluate.model_copy(update={"uncertain": 0.25})
    works = [partial(predict, setup.net, images, evaluate, setup.forward) for evaluate in (whole, quarter)]
    for work in works:
        work()  # the first call is slower: of a process, and of a shape of batch on CUDA
    views, some = (seconds_of(work, machine.device) for work in works)
    steps = [clock.seconds() for clock in watcher.clocks]
    if not steps:
        raise AirbenchError("speedup needs at least two steps: use a smaller train.batch_size, or more train.epochs")
    return Figures(
        start=watcher.first_end - started,
        step=median(steps),
        views=views,
        quarter=some,
        memory=(torch.cuda.max_memory_allocated(machine.device) if machine.device.type == "cuda" else _peak_bytes())
        / 1e9,
        faults=resource.getrusage(resource.RUSAGE_SELF).ru_minflt / 1e3,
    )


def _peak_bytes() -> int:
    """Return the peak memory of this process. (On Linux, getrusage starts with the peak of the parent.)"""
    import resource

    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):
        unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@dataclass(frozen=True)
class Speedup:
    """A figure for both sides, and their ratio in each round, plain PyTorch over ours."""

    what: str
    plain: Spread
    here: Spread
    ratio: Spread


def plain(recipe: Recipe) -> Recipe:
    """Return the recipe as plain PyTorch executes it."""
    return with_engine(recipe, fused=False, compile="none", cuda_graph=False)


def run_speedup(recipe: Recipe, rounds: int, progress: Callable[[str], None]) -> Iterator[Speedup]:
    """Measure both sides alternately, ``rounds`` times, each in a new process."""
    if choose_machine(recipe.engine).device.type == "mps":
        raise AirbenchError("speedup compares with plain PyTorch on a CPU or on CUDA: use --device cpu")
    if find_spec("resource") is None:
        raise AirbenchError("speedup needs the resource module of Unix, which this system does not have")
    load_dataset(recipe.data)  # decoded and cached before anything is measured
    taken: dict[str, list[Figures]] = {"plain": [], "here": []}
    with tempfile.TemporaryDirectory() as folder:
        files = {"plain": Path(folder) / "plain.yaml", "here": Path(folder) / "here.yaml"}
        for side, which in (("plain", plain(recipe)), ("here", recipe)):
            files[side].write_text(dump_recipe(which), encoding="utf-8")
        for turn in range(rounds):
            for side, file in files.items():
                figures = measure_in_a_process(file, side)
                taken[side].append(figures)
                progress(f"round {turn + 1} of {rounds}, {side}: {figures.step:.3g} s a step")
    for name, label in LABELS.items():
        a, b = ([getattr(figures, name) for figures in taken[side]] for side in ("plain", "here"))
        yield Speedup(label, Spread.of(a), Spread.of(b), ratios(a, b))


def measure_in_a_process(file: Path, side: str) -> Figures:
    """Measure ``side``, ``plain`` or ``here``, with the recipe in ``file``, in a new process."""
    command = [sys.executable, "-m", "airbench.benchmark.speedup", str(file), side, repr(time.time())]
    command += map(str, loaded_plugins())
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2] or "it gave no reason"
        raise AirbenchError(f"the process that measures {side} ended with {done.returncode}: {reason}")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


HEADER = ("what", "plain PyTorch", "here", "times as much")
"""Header of the table whose rows :func:`speedup_cells` formats."""


def speedup_cells(row: Speedup) -> tuple[str, ...]:
    """Format a row of the table: medians, with minimum and maximum in brackets."""
    return (row.what, *(_cell(spread) for spread in (row.plain, row.here, row.ratio)))


def _cell(spread: Spread) -> str:
    median, least, most = (f"{x:,.0f}" if x >= 999.5 else f"{x:.3g}" for x in (spread.median, spread.min, spread.max))
    return f"{median} ({least} to {most})"


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the process of one side: recipe file, ``plain`` or ``here``, the time at which it was started, plugins."""
    file, side, started, *plugins = arguments
    for plugin in plugins:
        load_plugin(plugin)
    return asdict(measure(load_recipe(file).recipe, plainly=side == "plain", started=float(started)))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
