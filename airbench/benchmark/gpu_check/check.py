"""The checks: each a command in a process of its own, so that one that fails or crashes leaves the others."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from airbench.benchmark.gpu_check.page import write_page
from airbench.kernels.symmetric import why_no_triton

WAYS = {
    "eager": "{compile: none, cuda_graph: false}",
    "graph": "{compile: none, cuda_graph: true}",
    "compile": "{compile: default, cuda_graph: false}",
    "compile-graph": "{compile: default, cuda_graph: true}",
}
"""Ways to execute training steps, and the ``engine`` section of each. The last is the default on CUDA, with Triton."""

REPOSITORY = Path(__file__).parents[3]
"""Where the tests are, unless the package is installed elsewhere."""

RECIPES = ("airbench94_muon", "hiverge", "speedrun")

_NVIDIA_SMI = (
    "nvidia-smi",
    "--query-gpu=name,driver_version,pstate,clocks.sm,clocks.max.sm,clocks.mem,power.draw,power.limit,temperature.gpu",
    "--format=csv",
)


@dataclass(frozen=True)
class Options:
    """What is checked, and where the results go."""

    out: Path
    device: str = "cuda"
    trials: int = 2
    peer: Path | None = None
    """A script of the user's own that is timed beside ours, such as airbench94_muon.py."""
    overrides: tuple[str, ...] = ()
    """For every command that takes a recipe: ``--data=PATH``, ``train.epochs=1``."""
    recipes: tuple[str, ...] = RECIPES
    tests: tuple[str, ...] = ("-m", "cuda")
    """Arguments of pytest."""


@dataclass(frozen=True)
class Outcome:
    """What came of a check."""

    name: str
    command: tuple[str, ...]
    code: int | None
    """Exit code; None if what it needs is not there."""
    seconds: float
    output: Path

    @property
    def passed(self) -> bool:
        """Whether the command ended well, or what it needs is not installed (nvidia-smi, the tests)."""
        return self.code in (0, None)


def run_checks(options: Options, say: Callable[[str], None]) -> list[Outcome]:
    """Run every check, whatever becomes of the others, and write ``index.html`` into the folder."""
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes, since = [], datetime.now(UTC).isoformat(timespec="seconds")
    why = why_no_triton(torch.device(options.device))
    ways = [way for way in WAYS if why is None or "compile" not in way]
    if why is not None:
        say(f"nothing is compiled: {why}")
    for name, command in _commands(options, ways):
        say(f"{name} …")
        outcome = _run(name, command, options)
        say(f"  {'ok' if outcome.passed else 'FAILED'} in {outcome.seconds:.0f} s, see {outcome.output}")
        outcomes.append(outcome)
    names = [Path(recipe).stem for recipe in options.recipes]
    page = write_page(options.out, outcomes, names, ways, since, why)
    say(f"written: {page}")
    return outcomes


def _commands(options: Options, ways: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    airbench = (sys.executable, "-m", "airbench")
    muon = "airbench94_muon"
    words = ("--device", "cuda", *options.overrides)
    found: list[tuple[str, Sequence[str]]] = [
        ("gpu-before", _NVIDIA_SMI),
        ("devices", (*airbench, "devices")),
        ("tests", (sys.executable, "-m", "pytest", *options.tests)),
        ("profile", (*airbench, "profile", muon, *words, "--json", str(options.out / "profile.json"))),
        ("bench", (*airbench, "bench", muon, *words, "--json", str(options.out / "bench.json"))),
    ]
    for recipe in options.recipes:
        name = Path(recipe).stem
        files = [_write_way(options, recipe, way) for way in ways]
        trials = ("--trials", str(options.trials), "--out", str(options.out / "runs" / name))
        found.append((f"trials-{name}", (*airbench, "train", *files, *words, *trials)))
    if options.peer is not None:
        alone = ("--trials", "1", "--out", str(options.out / "runs" / "beside-peer"))
        for turn in range(options.trials):
            found.append((f"peer-{turn + 1}", (sys.executable, str(options.peer))))
            found.append((f"beside-peer-{turn + 1}", (*airbench, "train", muon, *words, *alone)))
    found.append(("gpu-after", _NVIDIA_SMI))
    return found


def _write_way(options: Options, recipe: str, way: str) -> str:
    """Write a recipe file that executes steps in this way, and return its name."""
    file = options.out / "recipes" / f"{Path(recipe).stem}-{way}.yaml"
    file.parent.mkdir(exist_ok=True)
    base = Path(recipe).resolve() if Path(recipe).is_file() else recipe
    file.write_text(f"extends: {base}\nengine: {WAYS[way]}\n", encoding="utf-8")
    return str(file)


def _run(name: str, command: Sequence[str], options: Options) -> Outcome:
    output = options.out / f"{name}.txt"
    started = time.monotonic()
    code, folder = None, REPOSITORY if name == "tests" else Path()
    with output.open("w", encoding="utf-8") as stream:
        if shutil.which(command[0]) is None:
            stream.write(f"{command[0]}: not found\n")
        elif name == "tests" and not (REPOSITORY / "tests" / "test_cuda.py").is_file():
            stream.write("the tests are not there: they are in the repository, and this is an installed package\n")
        else:
            code = subprocess.run(
                command, stdout=stream, stderr=subprocess.STDOUT, check=False, cwd=folder, env=_environment(options)
            ).returncode
    return Outcome(name, tuple(command), code, time.monotonic() - started, output)


def _environment(options: Options) -> dict[str, str]:
    """Return the environment of a check, which shows it one GPU only if another than the first is to be checked."""
    index = torch.device(options.device).index
    if not index:
        return dict(os.environ)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {**os.environ, "CUDA_VISIBLE_DEVICES": visible.split(",")[index] if visible else str(index)}
