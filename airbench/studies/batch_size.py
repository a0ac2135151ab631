"""Examples and steps to a fixed accuracy at many batch sizes: the compute-time front of each optimizer.

After Shah et al. 2025 (arXiv 2505.02222, section 3): an optimizer is better not where it needs fewer steps, but where
it needs fewer examples at the same number of steps. Larger batches trade examples for steps.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from airbench.analysis.figures import COLOURS, plain_log_labels
from airbench.analysis.statistics import summarize, welch
from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe
from airbench.studies.result import STYLE, Study
from airbench.studies.steps_to_target import FAILED, Progress

FRESH = 1000
"""Seed of the first trial after the search for the learning rate; in the search it is 0."""

MOST_FACTORS = 10
"""Learning rates tried at most for a batch size."""

Measure = Callable[[LoadedRecipe, int], Progress]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """A recipe at a batch size, with the learning rate that is best there."""

    recipe: str
    batch_size: int
    factor: float
    """On every learning rate of the recipe's file."""
    tried: dict[float, float]
    """Cost by factor, in the search: the steps to the target, or more where it was not reached."""
    steps: tuple[float, ...]
    """Of fresh trials; infinite where the target was not reached."""

    @property
    def logs(self) -> list[float]:
        """Natural logarithms of the steps of the trials that reached the target."""
        return [math.log(s) for s in self.steps if math.isfinite(s)]

    def mean(self) -> tuple[float, float, float]:
        """Geometric mean of the steps, and its 95% interval; infinite if a trial did not reach the target."""
        if len(self.logs) < len(self.steps):
            return math.inf, math.nan, math.inf
        s = summarize(self.logs)
        return math.exp(s.mean), math.exp(s.low), math.exp(s.high)


def study_batch_size(
    recipes: Sequence[LoadedRecipe],
    batches: Sequence[int],
    measure: Measure,
    *,
    trials: int = 3,
    say: Say = lambda text: None,
) -> Study:
    """Find the best learning rate of every recipe at every batch size, then train ``trials`` times with it.

    The search tries factors of 2 until both neighbours of the best are worse, beginning with the best one of the
    batch size before. It uses seed 0; the trials that are reported have others. Raises AirbenchError for recipes
    that judge on test images.
    """
    for loaded in recipes:
        if loaded.recipe.data.held_out is None:
            raise AirbenchError(
                f"{loaded.path}: learning rates are tuned, so hold out images to judge on: data.held_out=5000"
            )
    first = recipes[0].recipe
    for recipe in (loaded.recipe for loaded in recipes[1:]):
        pairs = [("target", recipe.target, first.target)]
        pairs += [(f"data.{key}", value, getattr(first.data, key)) for key, value in recipe.data if key != "augment"]
        for key, value, wanted in pairs:
            if value != wanted:
                raise AirbenchError(
                    f"{key}: {wanted} in {first.name} and {value} in {recipe.name}, which are compared; set it for both"
                )
    points = [point for loaded in recipes for point in _points(loaded, sorted(batches), measure, trials, say)]
    return Study(
        "batch-size",
        {
            "data": first.data.name,
            "net": first.net.model_dump(mode="json"),
            "recipes": [loaded.recipe.name for loaded in recipes],
            "batch_sizes": sorted(batches),
            "target": first.target,
            "trials": trials,
        },
        _rows(points),
        [_numbers(point) for point in points],
        _figure(points, first.target),
        _conclusion(points, first.target),
    )


def _points(loaded: LoadedRecipe, batches: Sequence[int], measure: Measure, trials: int, say: Say) -> list[Point]:
    points, factor = [], 1.0
    for batch in batches:
        factor, tried = best_factor(lambda f, b=batch: measure(scaled(loaded, b, f), 0).cost, factor)  # type: ignore[misc]
        steps = tuple(measure(scaled(loaded, batch, factor), FRESH + i).steps for i in range(trials))
        points.append(Point(loaded.recipe.name, batch, factor, tried, steps))
        mean, low, high = points[-1].mean()
        say(f"{loaded.recipe.name}, batch size {batch}: lr × {factor:g}, {_count(mean)} {_interval(low, high)}")
    return points


def best_factor(cost: Callable[[float], float], start: float) -> tuple[float, dict[float, float]]:
    """Return the factor of least ``cost`` among powers of 2 times ``start``, and all costs.

    Goes on while the best is the smallest or largest factor tried, or all have failed, MOST_FACTORS at most.
    """
    found = {factor: cost(factor) for factor in (start, 2 * start, start / 2)}
    while len(found) < MOST_FACTORS:
        best = min(found, key=lambda factor: found[factor])
        if found[best] >= FAILED:  # rates that are too high fail; one that is too low only takes long
            best = min(found)
        if best == max(found):
            found[2 * best] = cost(2 * best)
        elif best == min(found):
            found[best / 2] = cost(best / 2)
        else:
            break
    return min(found, key=lambda factor: found[factor]), found


def scaled(loaded: LoadedRecipe, batch: int, factor: float) -> LoadedRecipe:
    """Return the recipe at another batch size, with all learning rates multiplied by ``factor``."""
    recipe = loaded.recipe
    groups = {name: g.model_copy(update={"lr": factor * g.lr}) for name, g in recipe.optimizers.items()}
    train = recipe.train.model_copy(update={"batch_size": batch})
    return replace(loaded, recipe=recipe.model_copy(update={"optimizers": groups, "train": train}))


def _count(value: float) -> str:
    return "target not reached" if math.isinf(value) else f"{value:,.0f} steps"


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) or math.isinf(high) else f"({low:,.0f} to {high:,.0f})"


def _rows(points: Sequence[Point]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("recipe", "batch size", "lr ×", "steps", "95% interval", "examples", "n")]
    for point in points:
        mean, low, high = point.mean()
        examples = "-" if math.isinf(mean) else f"{mean * point.batch_size:,.0f}"
        steps = "not reached" if math.isinf(mean) else f"{mean:,.0f}"
        n = len(point.steps)
        rows.append(
            (point.recipe, str(point.batch_size), f"{point.factor:g}", steps, _interval(low, high), examples, str(n))
        )
    return rows


def _numbers(point: Point) -> dict[str, Any]:
    return {
        "recipe": point.recipe,
        "batch_size": point.batch_size,
        "lr_factor": point.factor,
        "search": {f"{f:g}": round(c, 2) if c < FAILED else None for f, c in sorted(point.tried.items())},
        "steps": [round(s, 2) if math.isfinite(s) else None for s in point.steps],
    }


def growth(small: Point, large: Point) -> tuple[float, float, float]:
    """Return by what factor the examples grow from one batch size to a larger one, with its 95% interval (Welch)."""
    found = welch(large.logs, small.logs)
    ratio = large.batch_size / small.batch_size
    return tuple(ratio * math.exp(x) for x in (found.difference, found.low, found.high))  # type: ignore[return-value]


def _conclusion(points: Sequence[Point], target: float) -> str:
    told = []
    for name in dict.fromkeys(point.recipe for point in points):
        own = [p for p in points if p.recipe == name and math.isfinite(p.mean()[0])]
        if len(own) < 2:
            told.append(f"{name} reached it at {len(own)} batch sizes")
            continue
        ratio, low, high = growth(own[0], own[-1])
        interval = "" if math.isnan(low) else f" ({low:.2f} to {high:.2f})"
        told.append(f"{ratio:.2f} times{interval} with {name}, from {own[0].batch_size} to {own[-1].batch_size}")
    n = statistics.median([len(p.steps) for p in points])
    return f"Examples needed for {target:.0%} grow with the batch size: {'; '.join(told)} (n = {n:g} each)."


def _figure(points: Sequence[Point], target: float) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        names = list(dict.fromkeys(p.recipe for p in points))
        for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
            own = [(p, *p.mean()) for p in points if p.recipe == name and math.isfinite(p.mean()[0])]
            if not own:
                continue
            beside = 1.03 ** (place - (len(names) - 1) / 2)  # so that no interval hides another
            batches = [p.batch_size * beside for p, *_ in own]
            steps = [mean for _, mean, _, _ in own]
            examples = [p.batch_size * s for (p, *_), s in zip(own, steps, strict=True)]
            left.plot(batches, examples, "o-", color=colour, label=name, markersize=5)
            right.plot(steps, examples, "o-", color=colour, label=name, markersize=5)
            for p, mean, low, high in own:
                if not math.isnan(low):
                    b = p.batch_size
                    left.plot([b * beside, b * beside], [low * b, high * b], color=colour, linewidth=1.5)
                    right.plot([low, high], [low * b, high * b], color=colour, linewidth=1.5, alpha=0.6)
                right.annotate(f"{p.batch_size}", (mean, mean * p.batch_size), textcoords="offset points",
                               xytext=(5, 4), fontsize=8, color=colour)  # fmt: skip
        left.set_xlabel("batch size")
        right.set_xlabel("steps (labels: batch size)")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylabel(f"examples to {target:.0%} held-out accuracy (95% interval)")
            for axis in (axes.xaxis, axes.yaxis):
                plain_log_labels(axis, axis.get_data_interval())
                axis.set_major_formatter(FuncFormatter(_short))
        if left.lines:
            left.legend()
        left.set_title("Compute against batch size")
        right.set_title("Compute against time: down and left is better")
        return figure


def _short(value: float, place: int | None) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
