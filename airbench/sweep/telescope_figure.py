"""The figure of a telescope: accuracy over each axis at every level, and how the optimum moves."""

from collections.abc import Sequence
from functools import partial

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from airbench.analysis.figures import COLOURS, picture, plain_log_labels
from airbench.analysis.page import Picture
from airbench.recipe.source import short_names
from airbench.sweep.axes import Axis, parse_axis
from airbench.sweep.figure import SIZE, STYLE, accuracy_label
from airbench.sweep.folder import Sweep
from airbench.sweep.optimum import Optimum
from airbench.sweep.telescope import Telescope, in_units
from airbench.sweep.trained import percent

FIGURE = "telescope.png"


def draw_telescope(telescope: Telescope, levels: Sequence[Sweep], found: dict[str, list[Optimum]]) -> None:
    """Draw a row for each axis into ``telescope.png``: accuracies at every level, and the optimum of each level."""
    axes_of_search = [parse_axis(text) for text in telescope.axes]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 3.9 * len(axes_of_search)), layout="constrained")
        grid = figure.subplots(len(axes_of_search), 2, squeeze=False, width_ratios=[3, 2])
        for (left, right), axis in zip(grid, axes_of_search, strict=True):
            _draw_levels(left, axis, telescope, levels)
            _draw_optima(right, axis, telescope, found.get(axis.key, []))
        figure.savefig(telescope.path / FIGURE, dpi=130)


def telescope_pictures(telescope: Telescope, levels: Sequence[Sweep], found: dict[str, list[Optimum]]) -> list[Picture]:
    """Draw the same for a page, two figures for each axis, without a legend."""
    panels = []
    axes_of_search = [parse_axis(text) for text in telescope.axes]
    names = short_names(axis.key for axis in axes_of_search)
    for axis in axes_of_search:
        draw = partial(_draw_levels, axis=axis, telescope=telescope, levels=levels, legend=False)
        said = "A dot for each trial, a line through the means of each level."
        panels.append(picture(f"Accuracy against {names[axis.key]}", draw, f"{said} Over {axis.key}.", said, SIZE))
        if axis.key in found:
            draw = partial(_draw_optima, axis=axis, telescope=telescope, found=found[axis.key])
            said = f"Best {axis.key} at each level, with its 95% interval."
            panels.append(picture(f"How the best {names[axis.key]} moves", draw, said, said, SIZE))
    return panels


def level_colours(telescope: Telescope) -> list[tuple[str, str]]:
    """Return the colour and the name of each level."""
    return [(COLOURS[level % len(COLOURS)], f"{telescope.key}={value}") for level, value in enumerate(telescope.values)]


def _draw_levels(axes: Axes, axis: Axis, telescope: Telescope, levels: Sequence[Sweep], *, legend: bool = True) -> None:
    for sweep, (colour, label) in zip(levels, level_colours(telescope), strict=True):
        _draw_level(axes, axis, sweep, colour, label)
    axes.set_xlabel(axis.key)
    axes.set_ylabel(accuracy_label(telescope.on_test))
    if axis.log:
        axes.set_xscale("log")
        plain_log_labels(axes.xaxis, axes.xaxis.get_data_interval())
    if legend:
        axes.legend(fontsize=8)


def _draw_level(axes: Axes, axis: Axis, sweep: Sweep, colour: str, label: str) -> None:
    by_value: dict[float, list[float]] = {}
    runs = sweep.runs()
    for number, setting in enumerate(sweep.settings):
        by_value.setdefault(float(setting[axis.key]), []).extend(percent(runs.get(number)))
    known = {value: dots for value, dots in sorted(by_value.items()) if dots}
    axes.plot(list(known), [float(np.mean(dots)) for dots in known.values()], color=colour, label=label)
    for value, dots in known.items():
        axes.plot([value] * len(dots), dots, "o", color=colour, alpha=0.6, markersize=4)


def _draw_optima(axes: Axes, axis: Axis, telescope: Telescope, found: Sequence[Optimum]) -> None:
    shown = [in_units(axis, each) for each in found]
    if not shown:  # a level has fewer than three values
        axes.set_visible(False)
        return
    if axis.log:
        axes.set_yscale("log")
        plain_log_labels(axes.yaxis, [value for each in shown for value in each])
    for level, (at, low, high) in enumerate(shown):
        colour = COLOURS[level % len(COLOURS)]
        axes.plot([level, level], [low, high], color=colour, linewidth=2)
        axes.plot([level], [at], "o", color=colour, markersize=7)
    axes.set_xticks(range(len(telescope.values)), telescope.values, fontsize=8)
    axes.set_xlim(-0.5, len(telescope.values) - 0.5)
    axes.set_xlabel(telescope.key)
    axes.set_ylabel(f"best {axis.key.rpartition('.')[2]}")
