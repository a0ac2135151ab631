"""A figure of accuracy against arithmetic or time, drawn beside a page from the trials that its rows name."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import offset_copy
from pydantic import Field

from airbench.analysis.figures import COLOURS, framed_svg, plain_log_labels, themed
from airbench.analysis.statistics import Summary, summarize
from airbench.errors import AirbenchError
from airbench.pages.sources import Measured, Row, measure
from airbench.pages.tables import NAME, check_comparable, mean_and_interval
from airbench.recipe.config import Config
from airbench.runs.files import replace_file

X = Literal["pflop", "seconds"]
"""What a horizontal axis may be."""

_LABELS = {"pflop": "PFLOP of a trial, evaluation included", "seconds": "median seconds of a trial"}
_UNITS = {"pflop": "PFLOP", "seconds": "s"}


class Panel(Config):
    """Mean accuracy, with its 95% interval, against ``x``; a dash where it was published. Trials, against seconds."""

    x: X
    """The horizontal axis, logarithmic."""

    rows: Annotated[list[Row], Field(min_length=1)]
    """What is drawn. `ours: yes` in a row makes it stand out."""


class Scatter(Panel):
    """A figure of one panel, or of two."""

    file: Annotated[str, Field(pattern=r"\.svg$")]
    """Where it is drawn, relative to the page."""

    beside: Panel | None = None
    """A second, smaller panel, to the right."""


@dataclass(frozen=True)
class _Point:
    """A row that is drawn."""

    name: str
    at: float
    """Its place on the horizontal axis."""
    trials: tuple[tuple[float, float], ...]
    """Seconds and accuracy of each trial, where the axis is of seconds."""
    accuracies: Summary
    published: float | None
    ours: bool

    @property
    def colour(self) -> str:
        return COLOURS[1] if self.ours else COLOURS[0]


def markdown_scatter(scatter: Scatter, page: Path, *, draw: bool) -> str:
    """Draw the figure if ``draw``, and return Markdown that shows it; its alternative text has every number in it.

    Raises AirbenchError for a row without trials, or whose trials do not say what is drawn.
    """
    panels = [scatter] if scatter.beside is None else [scatter, scatter.beside]
    drawn = {panel.x: _points(panel, scatter.file, page) for panel in panels}
    if len(drawn) < len(panels):
        raise AirbenchError(f"{page}: {scatter.file}: both panels have {scatter.x} as x; give the second another")
    alternative = "; ".join(_in_words(point, _UNITS[x]) for x, points in drawn.items() for point in points)
    shown, file = f"![Mean accuracy. {alternative}]({scatter.file})", page.parent / scatter.file
    if draw:
        _write(drawn, alternative, file)
    elif not file.is_file() or f"<desc>{escape(alternative)}</desc>" not in file.read_text("utf-8"):
        return f"{scatter.file} is to be drawn"  # which is not what the page says
    return shown


def _points(panel: Panel, file: str, page: Path) -> "list[_Point]":
    measured = [measure(row, page) for row in panel.rows]
    for own in measured[1:]:
        check_comparable(page, measured[0], own, "images")
        if panel.x == "seconds":
            check_comparable(page, measured[0], own, "device")
    return [_point(row, own, panel.x, file, page) for row, own in zip(panel.rows, measured, strict=True)]


def _in_words(point: _Point, unit: str) -> str:
    s = point.accuracies
    published = "" if point.published is None else f", published {point.published:.2%}"
    seconds = [at for at, _ in point.trials]
    spread = f" ({min(seconds):.3g} to {max(seconds):.3g})" if len(seconds) > 1 else ""
    return f"{point.name}: {mean_and_interval(s)}, n = {s.n}, {point.at:.3g} {unit}{spread}{published}"


def _write(panels: Mapping[X, Sequence[_Point]], description: str, file: Path) -> None:
    with themed():
        figure = Figure(figsize=(7.6 if len(panels) == 1 else 12.0, 3.6), layout="constrained")
        shares = [5, 4][: len(panels)]
        for axes, (x, points) in zip(
            figure.subplots(1, len(panels), squeeze=False, width_ratios=shares)[0], panels.items(), strict=True
        ):
            _draw(axes, points, x)
        replace_file(file, framed_svg(figure, description).encode("utf-8"))


def _point(row: Row, own: Measured | None, x: str, file: str, page: Path) -> _Point:
    texts = row.model_extra or {}
    at = own and (own.pflop if x == "pflop" else statistics.median(own.seconds) if own.seconds else None)
    if own is None or not at:
        raise AirbenchError(f"{page}: {texts or row.runs} has no {x}; leave the row out of {file}")
    trials = tuple(zip(own.seconds, own.accuracies, strict=True)) if x == "seconds" else ()
    accuracies, ours = summarize(own.accuracies), bool(texts.get("ours"))
    return _Point(str(texts.get(NAME) or own.name), at, trials, accuracies, row.published_accuracy, ours)


def _draw(axes: Axes, points: Sequence[_Point], x: str) -> None:
    for point in points:
        at, s = point.at, point.accuracies
        if not math.isnan(s.low):
            axes.plot([at, at], [s.low, s.high], color=point.colour, linewidth=2)
        for each in point.trials:
            axes.plot(*each, "o", color=point.colour, markersize=4, alpha=0.45, markeredgewidth=0)
        axes.plot([at], [s.mean], "o", color=point.colour, markersize=8 if point.ours else 6)
        if point.published is not None:
            axes.plot([at], [point.published], "_", color=point.colour, markersize=13, markeredgewidth=1.5)
    axes.set_xscale("log")
    plain_log_labels(axes.xaxis, [point.at for point in points])
    axes.margins(x=0.12, y=0.12)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set_xlabel(_LABELS[x])
    axes.set_ylabel("mean accuracy")
    low, high = axes.get_ylim()
    taken: list[float] = []
    for group in neighbours([(math.log(p.at), p.accuracies.mean) for p in points]):
        named = sorted((points[i] for i in group), key=lambda p: -p.accuracies.mean)
        middle = statistics.fmean(p.accuracies.mean for p in named)
        while any(abs(middle - other) < 0.08 * (high - low) for other in taken):  # names of points on the other side
            middle -= 0.01 * (high - low)
        taken.append(middle)
        _name(axes, named, middle)


def _name(axes: Axes, points: Sequence[_Point], middle: float) -> None:
    """Write the names of neighbouring points one below the other, to the right of all of them, or left of the edge."""
    edge = max(p.at for p in points)
    figure = axes.get_figure(root=True)
    right = edge < math.sqrt(math.prod(axes.get_xlim()))
    edge = edge if right else min(p.at for p in points)
    for place, point in enumerate(points):
        lower = 15 * (place - (len(points) - 1) / 2)
        axes.annotate(
            f"{point.name}, n = {point.accuracies.n}", (point.at, point.accuracies.mean), (edge, middle),
            textcoords=offset_copy(axes.transData, figure, 22 if right else -22, -lower, "points"),
            ha="left" if right else "right", va="center", fontsize=9.5, color=point.colour,
            fontweight="bold" if point.ours else "normal",
            arrowprops={"arrowstyle": "-", "color": point.colour, "linewidth": 0.6, "alpha": 0.7},
        )  # fmt: skip


def neighbours(points: Sequence[tuple[float, float]], near: float = 0.18) -> list[list[int]]:
    """Group points whose names would overlap: linked by steps of less than ``near`` of the whole extent, both ways."""
    spans = [max(values) - min(values) or 1.0 for values in zip(*points, strict=True)]
    groups: list[list[int]] = []
    for i, point in enumerate(points):

        def is_near(j: int, point: tuple[float, float] = point) -> bool:
            return all(abs(a - b) < near * span for a, b, span in zip(point, points[j], spans, strict=True))

        close = [group for group in groups if any(is_near(j) for j in group)]
        groups = [group for group in groups if group not in close] + [[i, *(j for group in close for j in group)]]
    return groups
