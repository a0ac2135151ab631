"""The figure of a telescope: accuracy over each axis at every level, and how the optimum moves."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from airbench.analysis.figures import COLOURS
from airbench.sweep.axes import Axis, parse_axis
from airbench.sweep.figure import STYLE, accuracy_label
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
            for level, sweep in enumerate(levels):
                label = f"{telescope.key}={telescope.values[level]}"
                _draw_level(left, axis, sweep, COLOURS[level % len(COLOURS)], label)
            left.set_xlabel(axis.key)
            left.set_ylabel(accuracy_label(telescope.on_test))
            if axis.log:
                left.set_xscale("log")
                right.set_yscale("log")
            left.legend(fontsize=8)
            _draw_optima(right, axis, telescope, found.get(axis.key, []))
        figure.savefig(telescope.path / FIGURE, dpi=130)


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
    for level, each in enumerate(found):
        at, low, high = in_units(axis, each)
        colour = COLOURS[level % len(COLOURS)]
        axes.plot([level, level], [low, high], color=colour, linewidth=2)
        axes.plot([level], [at], "o", color=colour, markersize=7)
    axes.set_xticks(range(len(telescope.values)), telescope.values, fontsize=8)
    axes.set_xlim(-0.5, len(telescope.values) - 0.5)
    axes.set_xlabel(telescope.key)
    axes.set_ylabel(f"best {axis.key}, with 95% interval")
