"""Trials of a run that were trained again, to see whether they are what the run says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from airbench.runs import RunRecord, TrialRecord

FALSE_ALARM = 0.01
"""Probability that an honest run, trained again on another machine, is contradicted by one of its reruns."""
_SAME = ("train_loss", "train_accuracy", "accuracy")


@dataclass(frozen=True)
class Rerun:
    """A trial of a run, and the same trial trained again."""

    recorded: TrialRecord
    again: TrialRecord
    changed: tuple[str, ...]
    """Why the bits need not be the same: code, images or machine differ from those of the run, or it is a GPU, which
    may choose its kernels anew. Empty: they must be."""


def judge(run: RunRecord, rerun: Rerun, count: int) -> tuple[bool, str]:
    """Return whether a rerun confirms its trial, and a phrase that says why; ``count`` is the number of reruns.

    With the same code on the same CPU every loss and accuracy must be equal to the last bit. Where they need not be
    and are not, the accuracy must lie in the prediction interval of the run's other trials (Student's t; Bonferroni
    for ``count``).
    """
    recorded, again = rerun.recorded, rerun.again
    name = f"trial {recorded.index} trained again"
    if not again.finished:
        return False, f"{name}: failed: {again.reason}"
    pair = f"{again.accuracy:.2%}, recorded {recorded.accuracy:.2%}"
    if _values(recorded) == _values(again):
        return True, f"{name}: {pair}; losses and accuracies equal to the last bit"
    if not rerun.changed:
        return False, f"{name}: {pair}; losses and accuracies DIFFER"
    elsewhere = f"not to the last bit ({rerun.changed[0]}{', …' if len(rerun.changed) > 1 else ''})"
    low, high = prediction_interval(
        [t.accuracy for t in run.finished if t.index != recorded.index], FALSE_ALARM / count
    )
    if math.isnan(low):
        return False, f"{name}: {pair}; {elsewhere}, and too few other trials to compare with"
    inside = low <= again.accuracy <= high
    where = f"{'inside' if inside else 'OUTSIDE'} the interval of the other trials, {low:.2%} to {high:.2%}"
    return inside, f"{name}: {pair}; {where}; {elsewhere}"


def prediction_interval(values: Sequence[float], alpha: float) -> tuple[float, float]:
    """Return where another value of the same normal distribution lies with probability 1 - ``alpha``.

    NaN for fewer than two values (Hahn & Meeker 1991, section 4.2).
    """
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    half = float(stats.t.ppf(1 - alpha / 2, n - 1) * np.std(values, ddof=1) * math.sqrt(1 + 1 / n))
    mean = float(np.mean(values))
    return mean - half, mean + half


def _values(trial: TrialRecord) -> list[float | None]:
    rows = [row.get(key) for row in trial.epochs for key in _SAME]
    return [trial.accuracy, trial.plain_accuracy, *rows]
