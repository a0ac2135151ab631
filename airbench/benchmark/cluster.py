"""What Ray costs: trials of about a second through it and without it, and the head's own work for each.

    python -m airbench.benchmark.cluster --trials 100

One worker has all processors, as the one process without Ray has, so that both train on the same cores. Both train in
turn, in blocks. Seconds run from the end of a block's first trial to that of its last; starting Ray is not included.
The head's work is CPU time of its process, which a busy machine changes little.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airbench.device import cpu_count
from airbench.experiment.cluster.connect import Cluster
from airbench.experiment.run import Options, run_experiment
from airbench.recipe import load_recipe
from airbench.training.callback import Callback
from airbench.training.results import TrialResult

SMALL = (
    "engine.device=cpu", "net.widths=[8, 16, 16]", "data.train_images=2000", "data.held_out=500",
    "train.batch_size=100", "train.stall_epochs=99",
)  # fmt: skip
"""Overrides that make a trial of quickstart take about a second on a few cores."""


class Stopwatch(Callback):
    """Notes when trials end, in seconds of the wall and of this process's CPU time, and how long they took."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.trials: list[float] = []

    def on_end(self, result: TrialResult) -> None:
        """Note the time."""
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.trials.append(result.wall_seconds)


@dataclass(frozen=True)
class Block:
    """Some trials in a row."""

    trials: int
    """Not counting the first, which ends when the clock starts."""
    seconds: float
    cpu: float
    """Of this process: the head's, if others train."""
    trial: float
    """Median wall-clock seconds of a trial itself."""


def block(trials: int, overrides: Sequence[str], cluster: Cluster | None) -> Block:
    """Train ``trials`` and one more, through ``cluster`` or in this process."""
    watch = Stopwatch()
    recipe = load_recipe("quickstart", [*SMALL, f"engine.threads={cpu_count()}", *overrides])
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        options = Options(cluster=cluster, callbacks=[watch])
        run_experiment([recipe], trials=trials + 1, seed=0, out=Path(folder), options=options)
    return Block(
        trials, watch.wall[-1] - watch.wall[0], watch.cpu[-1] - watch.cpu[0], statistics.median(watch.trials[1:])
    )


def overhead(trials: int, blocks: int) -> dict[str, float]:
    """Return how many times as long ``trials`` take through Ray, and medians of a trial's own seconds."""
    cluster = Cluster()
    each = max(1, trials // blocks)
    pairs = [(block(each, ["train.epochs=2"], None), block(each, ["train.epochs=2"], cluster)) for _ in range(blocks)]
    serial, through = (sum(found.seconds for found in side) for side in zip(*pairs, strict=True))
    return {
        "trials": each * blocks,
        "serial_seconds": serial,
        "ray_seconds": through,
        "times_as_long": through / serial,
        "serial_trial": statistics.median(a.trial for a, _ in pairs),
        "ray_trial": statistics.median(b.trial for _, b in pairs),
    }


def head_work(trials: int) -> dict[str, float]:
    """Return the head's CPU seconds for a trial, and for the message that an epoch has ended.

    From trials of 1 and of 9 epochs. What the head does while it waits is included in both, so they are upper bounds.
    """
    cluster = Cluster()
    few = [
        "data.train_images=200",
        "data.held_out=100",
        "evaluate.tta=[]",
        "net.whiten.images=100",
        "net.widths=[4, 8, 8]",
    ]
    short, long = (block(trials, [*few, f"train.epochs={epochs}"], cluster) for epochs in (1, 9))
    message = (long.cpu - short.cpu) / (8 * trials)
    return {
        "trials": trials,
        "cpu_per_trial": short.cpu / trials - message,
        "cpu_per_message": message,
        "cpu_of_short": short.cpu, "seconds_of_short": short.seconds,
        "cpu_of_long": long.cpu, "seconds_of_long": long.seconds,
    }  # fmt: skip


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m airbench.benchmark.cluster", description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="trials of about a second on each side")
    parser.add_argument("--blocks", type=int, default=5, help="blocks in which both sides train in turn")
    parser.add_argument("--head", type=int, metavar="N", help="measure only the head's work, with N trials")
    options = parser.parse_args()
    found = {"head": head_work(options.head)} if options.head else {
        "overhead": overhead(options.trials, options.blocks), "head": head_work(options.trials),
    }  # fmt: skip
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
