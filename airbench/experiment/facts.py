"""What a run writes down about itself before its first trial, and what of it must not change until its last."""

from functools import cache
from pathlib import Path
from typing import Any

from airbench.training.flops import count_flop, measure_peak
from airbench.training.clock import TIMED
from airbench.data.dataset import Dataset
from airbench.experiment.environment import describe_environment, describe_source
from airbench.runs.record import entry
from airbench.training.trial import Trainer

SAME = (
    ("source", "sha256"), ("steps",),
    ("data", "train_fingerprint"), ("data", "test_fingerprint"), ("data", "train_images"),
    ("environment", "device"), ("environment", "precision"), ("environment", "threads"),
    ("environment", "cpu"), ("environment", "cpu_count"), ("environment", "memory_gib"), ("environment", "gpu"),
    ("environment", "system"), ("environment", "python"), ("environment", "packages"), ("environment", "variables"),
    ("environment", "fused_kernels"),
)  # fmt: skip
"""What must not change between two trials of a run, besides its recipe."""

_peak = cache(measure_peak)  # one figure for all runs of a process


def run_facts(
    trainer: Trainer, dataset: Dataset, trials: int, seed: int, *, measure: bool = True
) -> tuple[dict[str, Any], str]:
    """What ``run.json`` holds, and the code's uncommitted changes. ``measure`` adds arithmetic and peak rates."""
    source, difference = describe_source()
    facts = {
        "trials_planned": trials,
        "seed": seed,
        "timed": list(TIMED),
        "data": {
            "name": dataset.name,
            "source": Path(dataset.source).name,
            "genuine": dataset.genuine,
            "held_out": dataset.held_out,
            "train_fingerprint": dataset.train.fingerprint,
            "test_fingerprint": dataset.test.fingerprint,
            "train_images": len(trainer.train),
            "test_images": len(trainer.test),
        },
        "steps": trainer.total_steps,
        "routing": {r.group: {"optimizer": r.knobs.name, "params": list(r.names)} for r in trainer.routes},
        "source": source,
        "environment": describe_environment(trainer.machine),
    }
    if measure:
        trainer.machine.use_threads()
        facts["flop"] = count_flop(trainer.recipe, trainer.total_steps, len(trainer.test), dataset)
        facts["peak"] = _peak(trainer.machine.device)
    return facts, difference


def what_changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Which of the facts in SAME differ, a phrase each."""
    changed = []
    for path in SAME:
        old, new = entry(before, path), entry(now, path)
        if old != new:
            changed.append(f"{'.'.join(path)} was {old} and is {new}")
    return changed
