"""Measure what commands of the program do to the GPU, in total and while the clock runs.

    python -m tests.nullgpu -m tests.nullgpu.budget REPORT.json train RECIPE … [-- COMMAND …]

runs the commands one after the other in one process, as ``airbench COMMAND`` would, and writes a report of each. The
clock is the one that the program times a trial with, and each clock that ran stands for a trial.
"""

import contextlib
import gc
import importlib
import io
import json
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests.nullgpu.counters import Counters, by_name, counters, on_sync, reset
from tests.nullgpu.process import Outcome, run

WAYS = {
    "eager": ("engine.compile=none", "engine.cuda_graph=false"),
    "captured": ("engine.compile=none", "engine.cuda_graph=true"),
    "compiled": ("engine.compile=default", "engine.cuda_graph=false"),
    "default": (),
}
"""Ways to execute training steps. The default on CUDA is compiled and captured."""

CLOCK = ("airbench.training.clock", "Clock")
PROGRAM = "airbench"
FAILED = 70
"""Exit code of a command that raised an exception."""


@dataclass
class Trial:
    """What happened on the clock of one trial."""

    blocks: list[Counters] = field(default_factory=list)
    """One for each ``with clock:`` block."""
    waits: Counter[str] = field(default_factory=Counter)
    """Calls that waited for the device, each with the line of the program that made it."""

    @property
    def total(self) -> Counters:
        """All blocks together."""
        return sum(self.blocks, Counters())

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"blocks": [asdict(block) for block in self.blocks], "waits": dict(self.waits)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Trial":
        """The inverse of :meth:`as_dict`."""
        return cls([Counters(**block) for block in values["blocks"]], Counter(values["waits"]))


@dataclass
class Report:
    """Result of one command."""

    command: list[str]
    code: int
    """Exit code; FAILED after an exception, whose traceback is then in the output."""
    output: str
    seconds: float
    counters: Counters
    """Of the whole command, warm-up and evaluation after each epoch included."""
    names: dict[str, int]
    """The same by kernel, copy and call."""
    trials: list[Trial]
    """In the order in which they were begun."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return vars(self) | {"counters": asdict(self.counters), "trials": [trial.as_dict() for trial in self.trials]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Report":
        """The inverse of :meth:`as_dict`."""
        trials = [Trial.from_dict(trial) for trial in values["trials"]]
        return cls(**values | {"counters": Counters(**values["counters"]), "trials": trials})


def measure(
    commands: Sequence[Sequence[str]], folder: Path, *, variables: dict[str, str] | None = None, timeout: float = 600
) -> list[Report]:
    """Run the commands in one process on the null GPU; ``folder`` takes the report file.

    Raises RuntimeError, with the output, if the process dies before it has written the report.
    """
    path = folder / "report.json"
    path.unlink(missing_ok=True)
    separated = [word for command in commands for word in ("--", *command)][1:]
    outcome: Outcome = run(["-m", __name__, path, *separated], variables=variables, timeout=timeout)
    if not path.exists():
        raise RuntimeError(f"no report, exit code {outcome.code}:\n{outcome.output}")
    return [Report.from_dict(report) for report in json.loads(path.read_text(encoding="utf-8"))]


def measured(workshop: Path, *commands: Sequence[str], timeout: float = 600) -> list[Report]:
    """Run the commands with the images and the cache in ``workshop``."""
    return measure(commands, workshop, variables={"AIRBENCH_CACHE": str(workshop / "cache")}, timeout=timeout)


def launches_per_step(shorter: Trial, longer: Trial, steps: int) -> float:
    """Launches per training step, from two trials that differ by ``steps`` steps.

    The difference leaves out what a trial does once: whitening and the final evaluation.
    """
    return (longer.total.launches - shorter.total.launches) / steps


# ------------------------------------------------------------------ within the process on the null GPU


@contextlib.contextmanager
def _watched_clock() -> Iterator[list[Trial]]:
    """Collect the trials whose clocks run inside the block."""
    module, name = CLOCK
    clock = getattr(importlib.import_module(module), name)
    enter, leave = clock.__enter__, clock.__exit__
    trials: dict[Any, Trial] = {}
    running: list[tuple[Trial, Counters]] = []

    def watched_enter(self: Any) -> Any:
        result = enter(self)
        running.append((trials.setdefault(self, Trial()), counters()))
        return result

    def watched_leave(self: Any, *error: Any) -> Any:
        trial, before = running.pop()
        trial.blocks.append(counters() - before)
        return leave(self, *error)

    def note_wait(call: str) -> None:
        if running:
            running[-1][0].waits[f"{call} at {_line_of_program()}"] += 1

    found: list[Trial] = []
    clock.__enter__, clock.__exit__ = watched_enter, watched_leave
    on_sync(note_wait)
    try:
        yield found
    finally:
        on_sync(None)
        clock.__enter__, clock.__exit__ = enter, leave
        found += trials.values()


def _line_of_program() -> str:
    """The innermost frame of the program, as ``file:line``."""
    package = str(Path(importlib.import_module(PROGRAM).__file__ or "").parent)
    frames = [frame for frame in traceback.extract_stack() if frame.filename.startswith(package)]
    if not frames:
        return "a thread of PyTorch"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"


def _forget_memory() -> None:
    """Empty PyTorch's allocators, so that a command's allocations do not depend on the one before it."""
    gc.collect()
    torch.cuda.empty_cache()
    torch._C._host_emptyCache()


def _execute(command: list[str]) -> Report:
    main = importlib.import_module(f"{PROGRAM}.cli").main
    _forget_memory()
    output = io.StringIO()
    reset()
    started = time.perf_counter()
    with _watched_clock() as trials, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = main(command)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:
            traceback.print_exc()
            code = FAILED
    seconds = round(time.perf_counter() - started, 1)
    return Report(command, code, output.getvalue(), seconds, counters(), by_name(), trials)


def _split(words: list[str]) -> list[list[str]]:
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "--":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def _print(report: Report) -> None:
    print(f"{' '.join(report.command)}: exit code {report.code}, {report.seconds} s\n  all of it: {report.counters}")
    for number, trial in enumerate(report.trials, 1):
        print(f"  trial {number}, on the clock: {trial.total}")
        for wait, count in trial.waits.most_common():
            print(f"    waits {count} times: {wait}")


if __name__ == "__main__":
    reports = [_execute(command) for command in _split(sys.argv[2:])]
    Path(sys.argv[1]).write_text(json.dumps([report.as_dict() for report in reports]), encoding="utf-8")
    for each in reports:
        _print(each)
