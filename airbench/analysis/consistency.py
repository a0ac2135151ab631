"""Cross-checks of a run folder against itself: figures that contradict each other."""

import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from airbench.analysis.machines import spread_by_ray
from airbench.analysis.summary import summarize_run
from airbench.recipe.data import DATASETS
from airbench.recipe.schedules import epochs_to_steps
from airbench.runs import SUMMARY, RunRecord, TrialRecord
from airbench.runs.files import content

MAX_GAIN = 3.0
"""Test-time augmentation leaves at least a third of the errors. (In the runs kept with this project it left 72% or
more.)"""
MAX_SPEEDUP = 20.0
"""A trial is at most this much faster than its arithmetic, counted for direct convolution, at the measured peak."""
_CLOCK = 1e-3
"""Seconds by which two readings of a clock may differ."""


def contradictions(run: RunRecord) -> list[str]:
    """Return a phrase for each contradiction in a run folder.

    Accuracies must be whole numbers of images, and those without test-time augmentation must be those of the last
    epoch; steps and epochs follow from recipe and images, seconds of the clock add up to no more than the wall's, and
    summary, fingerprints and held-out images agree with what else the folder says. What a folder does not record is
    not checked.
    """
    found = [*_of_run(run)]
    for trial in run.finished:
        found += [f"trial {trial.index}: {what}" for what in _of_trial(run, trial)]
    return found


def _of_run(run: RunRecord) -> Iterator[str]:
    known = _published_fingerprints(run)
    recorded = {split: run.fact("data", f"{split}_fingerprint") for split in ("train", "test")}
    if run.fact("data", "genuine") is True and recorded != known:
        yield "genuine images have other fingerprints"
    if run.fact("recipe_sha256") is None:
        yield "run.json lacks the hash of the recipe"
    held_out = run.number("data", "held_out")
    if held_out is not None and held_out != (run.setting("data", "held_out") or 0):
        yield "run.json and recipe hold out different numbers of images"
    steps = run.number("steps")
    if steps is not None and _planned_steps(run) not in (None, steps):
        yield f"{steps:g} steps where the recipe has {_planned_steps(run)}"
    if not _agrees_with_summary(run):
        yield f"{SUMMARY} is not the summary of the trials"


def _of_trial(run: RunRecord, trial: TrialRecord) -> Iterator[str]:
    images = run.number("data", "test_images")
    epochs = [row.get("accuracy", math.nan) for row in trial.epochs]
    if images and not all(_is_whole(a * images) for a in (trial.accuracy, trial.plain_accuracy, *epochs)):
        yield f"an accuracy is not a whole number of {images:,.0f} images"
    if not epochs or epochs[-1] != trial.plain_accuracy:
        yield "its accuracy without test-time augmentation is not that of its last epoch"
    elif (1 - trial.plain_accuracy) > MAX_GAIN * (1 - trial.accuracy):
        yield f"{trial.accuracy:.2%} with test-time augmentation over {trial.plain_accuracy:.2%} without is implausible"
    if run.setting("evaluate", "tta") == [] and trial.accuracy != trial.plain_accuracy:
        yield "its accuracies differ, though the recipe has no test-time augmentation"
    machine = trial.machine or {}
    elsewhere = machine.get("device", run.fact("environment", "device")) != run.fact("environment", "device")
    fastest = None if elsewhere else _fastest(run)  # the peak is that of the run's machine
    if fastest is not None and trial.seconds < fastest:
        yield f"{trial.seconds:g} s are too few for its arithmetic on this machine: {fastest:.2g} at least"
    if elsewhere and not spread_by_ray(run):
        yield "it was trained on another machine than the run says"
    left_out = [name for name in ("steps", "wall_seconds", "machine") if getattr(trial, name) is None]
    if run.chained and left_out:
        yield f"it does not say its {', '.join(left_out)}"
    clock = [row.get("seconds", math.nan) for row in trial.epochs]
    wall = math.inf if trial.wall_seconds is None else trial.wall_seconds
    clock += [trial.seconds, wall]
    if any(a > b + _CLOCK for a, b in pairwise(clock)):
        yield "its seconds do not follow from those of its epochs"
    allowed = {run.number("steps")}
    if run.setting("train", "round_steps") == "stochastic":
        allowed |= {steps - 1 for steps in allowed if steps is not None}
    if trial.steps is not None and None not in allowed and trial.steps not in allowed:
        yield f"{trial.steps} steps instead of {run.fact('steps')}"


def _fastest(run: RunRecord) -> float | None:
    """Return the least seconds that a trial can take; None if the run does not say.

    Winograd's method does up to four times fewer multiplications than direct convolution, and the peak that was
    measured is that of a shared machine.
    """
    flop = run.number("flop", "trial")
    peaks = [run.number("peak", f"{precision}_tflops") for precision in ("bf16", "fp16", "fp32")]
    peak = max((p for p in peaks if p), default=None)
    return None if flop is None or peak is None else flop / (MAX_SPEEDUP * peak * 1e12)


def _is_whole(value: float) -> bool:
    return math.isfinite(value) and abs(value - round(value)) < 1e-6 * max(1.0, abs(value))


def _published_fingerprints(run: RunRecord) -> dict[str, str] | None:
    name = run.text("data", "name")
    return dict(DATASETS[name].fingerprints or {}) or None if name in DATASETS else None


def _planned_steps(run: RunRecord) -> int | None:
    images, batch = run.number("data", "train_images"), run.setting("train", "batch_size")
    epochs = run.setting("train", "epochs")
    if images is None or type(batch) is not int or batch < 1:
        return None
    if isinstance(epochs, bool) or not isinstance(epochs, int | float) or not 0 < epochs <= 1e6 or images > 1e12:
        return None
    carried = run.setting("train", "last_batch") == "carry_over"
    return epochs_to_steps(epochs, images / batch if carried else int(images) // batch)


def _agrees_with_summary(run: RunRecord) -> bool:
    """Return whether ``summary.json``, if there is one, says what the trials say."""
    try:
        summary = json.loads(content(run.path / SUMMARY))
        true = json.loads(json.dumps(summarize_run(run)))
        if dict(summary).get("trials", len(run.trials)) < len(run.trials):
            return True  # out of date: the process was killed after it had trained more
        told = {key: summary[key] for key in true if key in summary}  # an older version wrote less
        return all(_alike(told[key], true[key]) for key in told)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return True  # it can be computed at any time, so nothing depends on it


def _alike(told: Any, true: Any) -> bool:
    """Whether two values are equal but for rounding: another version of scipy may round an interval differently."""
    if isinstance(told, float) and isinstance(true, float):
        return math.isclose(told, true, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(told, dict) and isinstance(true, dict):
        return told.keys() == true.keys() and all(_alike(told[key], true[key]) for key in told)
    return bool(told == true)
