"""Epochs and seconds that a recipe needs to reach its target: the fair way to compare training speed."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from airbench.analysis.experiments import engine_differences, refuse_duplicates, same_experiment
from airbench.analysis.machines import why_no_time
from airbench.analysis.statistics import RESOLUTION, pooled_std, reaches
from airbench.errors import AirbenchError
from airbench.runs import RunRecord
from airbench.text import counted

DRAWS = 10_000
"""Bootstrap samples."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Length:
    """Finished trials of one recipe at one number of epochs."""

    epochs: float
    accuracies: tuple[float, ...]
    seconds: tuple[float, ...]
    """Empty if the trials ran on different engines or unlike machines, whose times are not comparable."""
    failed: int = 0
    """Trials at this length that failed, and do not count."""


@dataclass(frozen=True)
class Crossing:
    """Where the mean accuracy crosses the target; NaN if it does not. Ends of the interval can be infinite."""

    epochs: float
    epochs_low: float
    epochs_high: float
    seconds: float
    seconds_low: float
    seconds_high: float


def collect_lengths(runs: Sequence[RunRecord]) -> list[Length]:
    """Group the finished trials of runs of one recipe by its number of epochs.

    Runs on different engines count as the same recipe: their accuracies are pooled and their seconds dropped.
    Raises AirbenchError for runs of different recipes, and if fewer than two lengths have a finished trial.
    """
    refuse_duplicates(runs)
    groups: dict[float, tuple[list[float], list[float]]] = {}
    failures: Counter[float] = Counter()
    for run in runs:
        train = run.recipe.get("train")
        epochs = train.get("epochs") if isinstance(train, dict) else None
        if not isinstance(epochs, int | float):
            raise AirbenchError(f"{run.path}: its recipe does not say train.epochs")
        accuracies, seconds = groups.setdefault(float(epochs), ([], []))
        accuracies += [t.accuracy for t in run.finished]
        seconds += [t.seconds for t in run.finished]
        failures[float(epochs)] += len(run.failed)
    if not all(same_experiment(runs[0], run, besides=[("train", "epochs")]) for run in runs[1:]):
        raise AirbenchError(
            "time to target compares one recipe at several lengths, but these runs differ in more than train.epochs"
        )
    comparable = not engine_differences(runs) and not any(why_no_time(run) for run in runs)
    lengths = [
        Length(e, tuple(a), tuple(s) if comparable else (), failures[e]) for e, (a, s) in sorted(groups.items()) if a
    ]
    if not lengths:
        failed = [trial for run in runs for trial in run.failed]
        why = f": {failed[0].reason}" if failed else ""
        raise AirbenchError(f"no trial of these runs finished{why}")
    if len(groups) > 1 and len(lengths) == 1:
        raise AirbenchError(f"trials finished only at {lengths[0].epochs:g} epochs; at least two lengths are needed")
    if len(lengths) < 2:
        raise AirbenchError("name runs of at least two lengths: python train.py RECIPE train.epochs=[4,6,8] --trials 3")
    return lengths


def time_to_target(lengths: Sequence[Length], target: float, confidence: float = 0.95) -> Crossing:
    """Epochs and seconds at which the mean accuracy crosses ``target``, by linear interpolation between lengths.

    The interval is a parametric bootstrap: each length's mean is drawn from its t distribution, with a standard
    deviation pooled over lengths, and the crossing is computed from the draws. If draws cross before the shortest
    length or after the longest, an end of the interval is 0 or infinite: train at those lengths to narrow it. The
    interval is NaN if no length has any spread.

    Not in the interval: accuracy is a concave function of epochs, so it lies above the line between two lengths, and
    the true crossing is somewhat earlier than this one. Lengths closer to it reduce that; more trials do not.
    """
    epochs = np.array([length.epochs for length in lengths])
    means = np.array([np.mean(length.accuracies) for length in lengths])
    seconds = np.array([np.median(length.seconds) if length.seconds else math.nan for length in lengths])
    level = target - RESOLUTION  # a mean equal to the target up to rounding reaches it
    at = _cross(epochs, means, level)
    std, degrees = pooled_std([length.accuracies for length in lengths])
    if math.isnan(std):
        low, high = math.nan, math.nan
    else:
        rng = np.random.default_rng(0)
        errors = std / np.sqrt([len(length.accuracies) for length in lengths])
        draws = means + errors * rng.standard_t(degrees, (DRAWS, len(lengths)))
        found = np.sort([_cross(epochs, draw, level) for draw in draws])
        tail = (1 - confidence) / 2
        low, high = found[int(tail * (DRAWS - 1))], found[math.ceil((1 - tail) * (DRAWS - 1))]
    known = at if 0 < at < math.inf else math.nan
    return Crossing(known, low, high, *(_seconds_at(e, epochs, seconds) for e in (known, low, high)))


def _cross(epochs: Vector, means: Vector, target: float) -> float:
    """The first crossing from below: 0 if the shortest length is above already, infinite if there is none."""
    if means[0] >= target:
        return 0.0
    for (e0, m0), (e1, m1) in pairwise(zip(epochs, means, strict=True)):
        if m0 < target <= m1:
            return float(e0 + (target - m0) / (m1 - m0) * (e1 - e0))
    return math.inf


def _seconds_at(at: float, epochs: Vector, seconds: Vector) -> float:
    if math.isnan(at) or math.isinf(at) or at == 0:
        return at
    return float(np.interp(at, epochs, seconds))


def crossing_lines(lengths: Sequence[Length], target: float, crossing: Crossing) -> list[str]:
    """Format the lengths as a table, followed by the crossing."""
    lines = [
        f"{length.epochs:>7g} epochs  n = {len(length.accuracies):<3} mean {np.mean(length.accuracies):.3%}"
        + (f"  median {np.median(length.seconds):.2f} s" if length.seconds else "")
        + (f"  {length.failed} failed" if length.failed else "")
        for length in lengths
    ]
    c, failed = crossing, sum(length.failed for length in lengths)
    without = f"; {counted(failed, 'failed trial')} not counted" if failed else ""
    if math.isnan(c.epochs):
        above = reaches(float(np.mean(lengths[0].accuracies)), target)
        reached = f"reaches {target:.2%} in less than {lengths[0].epochs:g} epochs"
        if not above:
            reached = f"does not reach {target:.2%} in {lengths[-1].epochs:g} epochs"
        low, high = _end(c.epochs_low, lengths), _end(c.epochs_high, lengths)
        within = "" if low == high else f" on average (95% interval {low} to {high})"
        lines.append(f"{reached}{within}{without}")
    else:
        line, known = f"reaches {target:.2%} at {c.epochs:.2f} epochs", not math.isnan(c.epochs_low)
        if known:
            line += f" ({_end(c.epochs_low, lengths)} to {_end(c.epochs_high, lengths)})"
        if not math.isnan(c.seconds):
            line += f", {c.seconds:.1f} s"
            line += f" ({_seconds_end(c.seconds_low)} to {_seconds_end(c.seconds_high)})" if known else ""
        if not known:
            line += "; no interval: train two or more trials of each length"
        lines.append(line + without)
    return lines


def _end(epochs: float, lengths: Sequence[Length]) -> str:
    if math.isnan(epochs):
        return "unknown"
    if epochs == 0:
        return f"below {lengths[0].epochs:g}"
    return f"above {lengths[-1].epochs:g}" if math.isinf(epochs) else f"{epochs:.2f}"


def _seconds_end(seconds: float) -> str:
    return f"{seconds:.1f}" if 0 < seconds < math.inf else "?"
