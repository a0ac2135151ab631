"""The figure of a sweep: accuracy against each axis, and against the two most important ones together."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from airbench.analysis.figures import COLOURS, picture, plain_log_labels
from airbench.analysis.page import Picture
from airbench.recipe.source import short_names
from airbench.sweep.axes import as_number
from airbench.sweep.folder import Sweep
from airbench.sweep.results import winner
from airbench.sweep.tpe import importance
from airbench.sweep.trained import percent

FIGURE = "sweep.png"
STYLE: Any = {"font.size": 10, "axes.grid": True, "grid.linewidth": 0.3, "axes.axisbelow": True}

SIZE = (4.5, 3.2)
"""Of a figure on a page, in inches."""

_MAP = matplotlib.colormaps["viridis"].resampled(32)  # so few are drawn as shapes: a page holds no images

COLUMNS = 3
"""Panels side by side."""


def draw(sweep: Sweep) -> None:
    """Draw accuracy against each axis, a dot for each trial, and means over the two axes that matter most."""
    keys, first = list(sweep.settings[0]), winner(sweep)
    found = {number: percent(run) for number, run in sweep.runs().items()}
    panels = len(keys) + (len(keys) > 1)
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    unit = accuracy_label(sweep.on_test)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * columns, 3.6 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, key in zip(grid, keys, strict=False):
            _draw_axis(axes, sweep, key, found, first)
        for row in range(rows):
            grid[row * columns].set_ylabel(unit)
        if len(keys) > 1:
            _draw_together(grid[len(keys)], sweep, _most_important(sweep, found), found, unit, first)
        for axes in grid[panels:]:
            axes.set_visible(False)
        figure.savefig(sweep.path / FIGURE, dpi=130)


def pictures(sweep: Sweep, first: int) -> list[Picture]:
    """Draw the same for a page, a figure for each panel. ``first`` is the number of the best setting."""
    keys, unit = list(sweep.settings[0]), accuracy_label(sweep.on_test)
    found = {number: percent(run) for number, run in sweep.runs().items()}
    names = short_names(keys)
    panels = []
    for key in keys:

        def draw(axes: Axes, key: str = key) -> None:
            _draw_axis(axes, sweep, key, found, first)
            axes.set_ylabel(unit)

        said = "A dot for each trial. Orange: the best setting."
        panels.append(picture(f"Accuracy against {names[key]}", draw, f"{said} Over {key}.", said, SIZE))
    if len(keys) > 1:
        pair = _most_important(sweep, found)
        said = f"Mean accuracy over {' and '.join(pair)}. A ring: the best setting."

        def together(axes: Axes) -> None:
            _draw_together(axes, sweep, pair, found, unit, first)
            axes.set_title("")

        panels.append(picture("The two axes that matter most", together, said, said, SIZE))
    return panels


def accuracy_label(on_test: bool) -> str:
    """Return the label of an axis of accuracies."""
    return "accuracy in %" + (", test images" if on_test else ", held-out images")


def _places(axis: Any, set_scale: Callable[[str], Any], values: Sequence[str]) -> list[float]:
    """Return where values lie on an axis of a plot, and set its scale and labels."""
    numbers = [n for value in values if (n := as_number(value)) is not None]
    if len(numbers) < len(values):
        different = list(dict.fromkeys(values))
        axis.set_ticks(range(len(different)), [v.replace("$", r"\$") for v in different])
        return [float(different.index(value)) for value in values]
    if min(numbers) > 0 and max(numbers) >= 8 * min(numbers):
        set_scale("log")
        plain_log_labels(axis, numbers)
    return numbers


def _draw_axis(axes: Axes, sweep: Sweep, key: str, found: dict[int, list[float]], first: int) -> None:
    places = _places(axes.xaxis, axes.set_xscale, [setting[key] for setting in sweep.settings])
    for number, place in enumerate(places):
        dots = found.get(number, [])
        colour = COLOURS[1] if number == first else COLOURS[0]
        axes.plot([place] * len(dots), dots, "o", color=colour, alpha=0.7, markersize=5)
    axes.set_xlabel(key.replace("$", r"\$"))


def _most_important(sweep: Sweep, found: dict[int, list[float]]) -> list[str]:
    """Return the two axes that matter most: by Optuna's importance, else by how far means at their values differ."""
    keys = list(sweep.settings[0])
    known = importance(sweep)
    if known:
        return sorted(keys, key=lambda key: -known.get(key, 0))[:2]

    def range_of_means(key: str) -> float:
        by_value: dict[str, list[float]] = {}
        for number, setting in enumerate(sweep.settings):
            by_value.setdefault(setting[key], []).extend(found.get(number, []))
        means = [float(np.mean(values)) for values in by_value.values() if values]
        return max(means, default=0) - min(means, default=0)

    return sorted(keys, key=lambda key: -range_of_means(key))[:2]


def _draw_together(
    axes: Axes, sweep: Sweep, keys: Sequence[str], found: dict[int, list[float]], unit: str, first: int
) -> None:
    whole = [number for number in range(len(sweep.settings)) if found.get(number)]
    if not whole:
        axes.set_visible(False)
        return
    x, y = (
        _places(axis, set_scale, [sweep.settings[n][key] for n in whole])
        for axis, set_scale, key in zip((axes.xaxis, axes.yaxis), (axes.set_xscale, axes.set_yscale), keys, strict=True)
    )
    means = [float(np.mean(found[number])) for number in whole]
    dots = axes.scatter(x, y, c=means, cmap=_MAP, s=55, edgecolors="white", linewidths=0.5)
    if first in whole:
        place = whole.index(first)
        axes.plot(x[place], y[place], "o", color=COLOURS[1], markersize=13, fillstyle="none", markeredgewidth=2)
    assert axes.figure is not None
    axes.figure.colorbar(dots, ax=axes, label=unit)
    names = short_names(sweep.settings[0])
    axes.set_xlabel(names[keys[0]].replace("$", r"\$"))
    axes.set_ylabel(names[keys[1]].replace("$", r"\$"))
    axes.set_title("the two axes that matter most", fontsize=10)
