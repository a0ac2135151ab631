"""Which of the settings that a sweep varies matter: every trial tells something about every axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from airbench.analysis.regression import Array, Regression, regress
from airbench.analysis.statistics import summarize
from airbench.analysis.summary import table
from airbench.recipe.source import short_names
from airbench.runs import RunRecord
from airbench.sweep.axes import as_number, digits
from airbench.sweep.folder import Sweep

LEVELS = 5
"""Up to so many different values of an axis are compared one by one; a curve is fitted to more numbers."""

HOPELESS = 5
"""Settings with so many times the errors of the best one do not count."""

SPARE = 10
"""Settings that there must be beyond the number of coefficients."""


@dataclass(frozen=True)
class Effect:
    """The difference that a value of an axis makes, all else equal."""

    key: str
    reference: str
    value: str
    difference: float
    low: float
    high: float
    """Accuracy at ``value`` less that at ``reference``, and its 95% interval, jointly for all effects of a sweep."""


@dataclass(frozen=True)
class Effects:
    """All effects of a sweep."""

    rows: list[Effect]
    settings: int
    left_out: int
    """Settings that hardly learned, or of which a trial failed or was pruned."""
    residual: float
    """Standard deviation of the settings' accuracies around what the effects explain."""


@dataclass(frozen=True)
class _Part:
    """The columns of an axis."""

    key: str
    columns: Array
    """``(n, k)``; 0 at the reference."""
    reference: str
    points: list[tuple[str, Array]]
    """Each value that is compared with the reference, and the columns ``(k,)`` there."""


def effects(sweep: Sweep, runs: Mapping[int, RunRecord]) -> Effects | None:
    """Fit the accuracies of the search's ``runs`` to the axes. None if there are too few settings for that.

    Left out are settings of which a trial failed, and those with more than HOPELESS times the best one's errors: how
    badly they failed is no matter of points.
    """
    whole = {n: run.finished for n, run in runs.items() if run.finished and len(run.finished) == len(run.trials)}
    means = {n: summarize([trial.accuracy for trial in trials]).mean for n, trials in whole.items()}
    worst = 1 - HOPELESS * (1 - max(means.values(), default=0))
    numbers = sorted(n for n, mean in means.items() if mean >= worst)
    settings = [sweep.settings[n] for n in numbers]
    if not settings:
        return None
    parts = [part for key in sweep.settings[0] if (part := _part(key, [s[key] for s in settings])) is not None]
    design = np.column_stack([np.ones(len(settings)), *(part.columns for part in parts)])
    if not parts or len(settings) < design.shape[1] + SPARE:
        return None
    fit = regress(design, np.array([means[n] for n in numbers]))
    return None if fit is None else Effects(_rows(parts, fit), len(settings), len(runs) - len(settings), fit.residual)


def _part(key: str, values: Sequence[str]) -> _Part | None:
    different = list(dict.fromkeys(values))
    if len(different) < 2:
        return None
    numbers = [as_number(value) for value in values]
    known = np.array([n for n in numbers if n is not None])
    if len(different) <= LEVELS or len(known) < len(values):
        if len(known) == len(values):
            different.sort(key=float)
        reference = max(different, key=values.count)
        others = [value for value in different if value != reference]
        columns = np.array([[float(value == other) for other in others] for value in values])
        return _Part(key, columns, reference, list(zip(others, np.eye(len(others)), strict=True)))
    return _curve(key, known)


def _curve(key: str, values: Array) -> _Part:
    """A parabola, on a logarithmic scale if the values span one, that is 0 in the middle of their range."""
    logarithmic = values.min() > 0 and values.max() >= 4 * values.min()
    scaled = np.log(values) if logarithmic else values
    low, high = scaled.min(), scaled.max()
    middle = (low + high) / 2
    places = (scaled - middle) / (high - middle)  # -1 to 1
    centre = np.exp(middle) if logarithmic else middle
    ends = [(digits(values.min()), np.array([-1.0, 1.0])), (digits(values.max()), np.array([1.0, 1.0]))]
    return _Part(key, np.column_stack([places, places**2]), digits(centre), ends)


def _rows(parts: Sequence[_Part], fit: Regression) -> list[Effect]:
    comparisons = sum(len(part.points) for part in parts)
    rows, start = [], 1
    for part in parts:
        end = start + part.columns.shape[1]
        for value, point in part.points:
            difference = np.zeros(len(fit.coefficients))
            difference[start:end] = point
            rows.append(Effect(part.key, part.reference, value, *fit.contrast(difference, comparisons)))
        start = end
    return rows


SIGNIFICANT = "*: significant at the 5% level, jointly"


def effect_lines(found: Effects) -> list[str]:
    """Return a table of the effects, those that are significant marked, and how they were found."""
    return [*table(effect_rows(found)), SIGNIFICANT, effect_note(found)]


def effect_rows(found: Effects) -> list[tuple[str, ...]]:
    """Return a header and a row for each effect."""
    names = short_names(dict.fromkeys(row.key for row in found.rows))
    rows: list[tuple[str, ...]] = [
        ("what matters, all else equal", "from", "to", "accuracy", "95% interval, jointly", "")
    ]
    for row in found.rows:
        mark = "*" if row.low > 0 or row.high < 0 else ""
        interval = f"{row.low:+.2%} to {row.high:+.2%}"
        rows.append((names[row.key], row.reference, row.value, f"{row.difference:+.2%}", interval, mark))
    return rows


def effect_note(found: Effects) -> str:
    """Return how the effects were found."""
    without = f" (without {found.left_out} that failed, were pruned or hardly learned)" if found.left_out else ""
    return f"robust regression on {found.settings} settings{without}, residual standard deviation {found.residual:.2%}"
