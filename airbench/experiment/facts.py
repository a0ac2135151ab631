"""Facts that a run records before its first trial, and those that must not change until its last."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch

from airbench.experiment.environment import describe_environment, describe_source
from airbench.experiment.worker import Worker
from airbench.optim.groups import describe
from airbench.optim.lost_decay import lost_decay
from airbench.recipe import Recipe
from airbench.runs.record import entry
from airbench.training.clock import TIMED
from airbench.training.flops import count_flop
from airbench.training.peak import measure_peak

MACHINE = (
    ("environment", "device"), ("environment", "precision"), ("environment", "threads"),
    ("environment", "cpu"), ("environment", "cpu_count"), ("environment", "gpu"), ("environment", "fused_kernels"),
)  # fmt: skip
"""Facts on the machine. With Ray they may differ between the trials of a run, each of which records its own."""

MUST_MATCH = (
    ("source", "sha256"), ("source", "plugins"), ("steps",),
    ("data", "train_fingerprint"), ("data", "test_fingerprint"), ("data", "train_images"),
    ("data", "subset_sha256"),
    ("environment", "python"), ("environment", "packages"), ("environment", "variables"), *MACHINE,
)  # fmt: skip
"""Facts that must not change between trials of a run, besides its recipe."""


@cache
def _peak(device: torch.device, fp32: str, threads: int) -> dict[str, Any]:
    """Measure the peak of a device once per process, and once for each number of ``threads``."""
    return measure_peak(device, fp32)


@dataclass(frozen=True)
class Examined:
    """What there is to know of a recipe on a machine before it is trained there."""

    lines: list[str]
    """For whoever reads the terminal."""
    facts: dict[str, Any]
    """Its part of ``run.json``."""


class Examine(Protocol):
    """Finds out what there is to know of a recipe, wherever it is going to be trained."""

    def __call__(self, recipe: Recipe, *, measure: bool) -> Examined:
        """See :func:`examine`."""


def examine(worker: Worker, recipe: Recipe, *, measure: bool) -> Examined:
    """Set up ``recipe`` here. ``measure`` adds FLOP and peak rates. Raises AirbenchError."""
    setup, dataset = worker.setup(recipe), worker.dataset(recipe)
    lines = [f"{recipe.name}: {setup.machine}; {setup.plan.describe()}"]
    if recipe.train.selection is not None and not setup.plan.selects():
        lines.append("  train.selection drops no image in so many steps")
    if setup.machine.device.type == "cuda":
        lines.append(f"  steps are {setup.execution}")
    lines += [f"  {line}" for line in describe(setup.groups)]
    lines += [f"  {line}" for line in lost_decay(setup.groups, setup.total_steps, setup.steps_per_epoch)]
    facts = {
        "timed": list(TIMED),
        "data": {
            "name": dataset.name,
            "source": Path(dataset.source).name,
            "genuine": dataset.genuine,
            "held_out": dataset.held_out,
            "train_fingerprint": dataset.train.fingerprint,
            "test_fingerprint": dataset.test.fingerprint,
            "train_images": len(setup.train),
            "subset_sha256": _sha256(recipe.data.subset),
            "test_images": len(setup.test),
        },
        "steps": setup.total_steps,
        "routing": {g.name: {"optimizer": g.config.name, "params": list(g.param_names)} for g in setup.groups},
        "environment": describe_environment(setup.machine),
    }
    if measure:
        setup.machine.use()
        facts["flop"] = count_flop(recipe, setup.total_steps, len(setup.test), setup.shape, setup.steps_per_epoch)
        facts["peak"] = _peak(setup.machine.device, setup.machine.fp32, torch.get_num_threads())
    return Examined(lines, facts)


def run_facts(examined: Examined, trials: int, seed: int) -> tuple[dict[str, Any], str]:
    """Return the content of ``run.json`` and the diff of uncommitted changes."""
    source, difference = describe_source()
    return {"trials_planned": trials, "seed": seed, "source": source, **examined.facts}, difference


def _sha256(path: str | None) -> str | None:
    return None if path is None else hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()


def what_changed(before: dict[str, Any], now: dict[str, Any], *, elsewhere: bool = False) -> list[str]:
    """Return a phrase for each fact in MUST_MATCH that differs; ``elsewhere``: the machine may differ."""
    changed = []
    for path in MUST_MATCH:
        old, new = entry(before, path), entry(now, path)
        if old != new and not (elsewhere and path in MACHINE):
            changed += _changes(".".join(path), old, new)
    return changed


def _changes(name: str, old: Any, new: Any) -> list[str]:
    """Return a phrase for a fact that differs; of several numbers or words in one, for each that does."""
    if isinstance(old, dict) and isinstance(new, dict):
        both = [(key, old.get(key), new.get(key)) for key in sorted({*old, *new})]
        return [phrase for key, a, b in both if a != b for phrase in _changes(f"{name}.{key}", a, b)]
    return [f"{name} was {old}, is now {new}"]


def of_trial(facts: dict[str, Any], machine: dict[str, Any] | None) -> dict[str, Any]:
    """Return a run's facts with the machine that one of its trials was trained on, where they differ."""
    environment = facts.get("environment")
    if not isinstance(environment, dict) or machine is None:
        return facts
    return {**facts, "environment": {**environment, **{k: v for k, v in machine.items() if k in environment}}}
