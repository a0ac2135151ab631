"""Facts that a run records before its first trial, and those that must not change until its last."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from airbench.data.dataset import Dataset
from airbench.experiment.environment import describe_environment, describe_source
from airbench.runs.record import entry
from airbench.training.clock import TIMED
from airbench.training.flops import count_flop
from airbench.training.peak import measure_peak
from airbench.training.setup import TrialSetup

MUST_MATCH = (
    ("source", "sha256"), ("steps",),
    ("data", "train_fingerprint"), ("data", "test_fingerprint"), ("data", "train_images"),
    ("data", "subset_sha256"),
    ("environment", "device"), ("environment", "precision"), ("environment", "threads"),
    ("environment", "cpu"), ("environment", "cpu_count"), ("environment", "memory_gib"), ("environment", "gpu"),
    ("environment", "system"), ("environment", "python"), ("environment", "packages"), ("environment", "variables"),
    ("environment", "fused_kernels"),
)  # fmt: skip
"""Facts that must not change between trials of a run, besides its recipe."""

_peak = cache(measure_peak)  # measured once per process


def run_facts(
    setup: TrialSetup, dataset: Dataset, trials: int, seed: int, *, measure: bool = True
) -> tuple[dict[str, Any], str]:
    """Return the content of ``run.json`` and the diff of uncommitted changes. ``measure`` adds FLOP and peak rates."""
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
            "train_images": len(setup.train),
            "subset_sha256": _sha256(setup.recipe.data.subset),
            "test_images": len(setup.test),
        },
        "steps": setup.total_steps,
        "routing": {g.name: {"optimizer": g.config.name, "params": list(g.param_names)} for g in setup.groups},
        "source": source,
        "environment": describe_environment(setup.machine),
    }
    if measure:
        setup.machine.use_threads()
        facts["flop"] = count_flop(setup.recipe, setup.total_steps, len(setup.test), setup.shape, setup.steps_per_epoch)
        facts["peak"] = _peak(setup.machine.device)
    return facts, difference


def _sha256(path: str | None) -> str | None:
    return None if path is None else hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()


def what_changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return a phrase for each fact in MUST_MATCH that differs."""
    changed = []
    for path in MUST_MATCH:
        old, new = entry(before, path), entry(now, path)
        if old != new:
            changed.append(f"{'.'.join(path)} was {old}, is now {new}")
    return changed
