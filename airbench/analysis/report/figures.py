"""Figures of runs."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from airbench.analysis.figures import COLOURS, INK, SIZE, literal, picture, plain_log_labels, plain_style
from airbench.analysis.machines import why_no_time
from airbench.analysis.page import Picture
from airbench.analysis.statistics import summarize
from airbench.runs import RunRecord

NUMBER = "#0d1013"
"""Colour of a number on a run's colour, light page or dark."""


@dataclass(frozen=True)
class Entry:
    """A run with its name and its number in the table, which also stands beside its points."""

    number: int
    run: RunRecord
    name: str

    @property
    def colour(self) -> str:
        """The run's colour in every figure."""
        return COLOURS[(self.number - 1) % len(COLOURS)]

    @property
    def accuracies(self) -> list[float]:
        """Accuracies of the finished trials."""
        return [trial.accuracy for trial in self.run.finished]


def entries(runs: Sequence[RunRecord], names: Sequence[str]) -> list[Entry]:
    """Number ``runs`` from 1."""
    return [Entry(number, run, name) for number, (run, name) in enumerate(zip(runs, names, strict=True), 1)]


def accuracy_strip(rows: Sequence[Entry]) -> Picture:
    """One row per run: a dot per trial, the mean and its 95% interval."""
    means = "; ".join(f"{e.name}: mean {np.mean(e.accuracies):.2%} over {len(e.accuracies)} trials" for e in rows)
    said = "One dot per trial; bars show the 95% interval of each mean. Dotted: the target."
    size = (SIZE[0], max(2.4, 0.9 + 0.5 * len(rows)))
    return picture("Accuracy of every trial", lambda axes: _draw_strip(axes, rows), f"{said} {means}.", said, size)


def _draw_strip(axes: Axes, rows: Sequence[Entry]) -> None:
    for row, entry in enumerate(rows):
        values = entry.accuracies
        jitter = (np.arange(len(values)) % 5 - 2) * 0.05
        axes.plot(values, row + jitter, "o", color=entry.colour, alpha=0.55, markersize=5)
        s = summarize(values)
        if not math.isnan(s.low):
            axes.plot([s.low, s.high], [row, row], color=entry.colour, linewidth=2)
        axes.plot([s.mean], [row], "|", color=entry.colour, markersize=15, markeredgewidth=2.5)
        named = f"{entry.number}  {literal(entry.name)}"
        axes.text(0, row - 0.27, named, transform=axes.get_yaxis_transform(), fontsize="small", va="bottom")
    _target_lines(axes, rows, vertical=True)
    axes.set_yticks([])
    axes.set_ylim(len(rows) - 0.6, -0.85)
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set_xlabel("accuracy, with test-time augmentation")


def accuracy_against_time(rows: Sequence[Entry]) -> Picture:
    """Mean accuracy against median seconds, with the Pareto front: the runs that no other beats in both."""
    seconds = {e.number: float(np.median([t.seconds for t in e.run.finished])) for e in rows}
    points = [(seconds[e.number], float(np.mean(e.accuracies)), e.name) for e in rows]
    front = pareto_front(points)
    said = (
        "Mean accuracy with its 95% interval. Dashed: the Pareto front, the runs that no other beats in both: "
        f"{'; '.join(name for _, _, name in front)}."
    )

    def draw(axes: Axes) -> None:
        for entry in rows:
            s, x = summarize(entry.accuracies), seconds[entry.number]
            if not math.isnan(s.low):
                axes.plot([x, x], [s.low, s.high], color=entry.colour, linewidth=2)
            _draw_number(axes, entry, x, s.mean)
        axes.plot([x for x, _, _ in front], [y for _, y, _ in front], "--", color=INK, linewidth=1, zorder=0)
        _target_lines(axes, rows, vertical=False)
        if max(seconds.values()) > 3 * min(seconds.values()):
            axes.set_xscale("log")
            plain_log_labels(axes.xaxis, list(seconds.values()))
        axes.margins(0.12)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        axes.set_xlabel("median timed seconds")
        axes.set_ylabel("mean accuracy")

    return picture("Accuracy against time", draw, said, said)


def pareto_front(points: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Of (seconds, accuracy, label) those that no other beats in both, by time."""
    front: list[tuple[float, float, str]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def training_curves(rows: Sequence[Entry]) -> Picture:
    """Plain test accuracy after each epoch against timed seconds: mean over trials, with a band from min to max."""
    said = "Test accuracy after each epoch, without test-time augmentation: mean over trials, band from min to max."
    return picture("Training curves", lambda axes: _draw_curves(axes, rows), said, said)


def _draw_curves(axes: Axes, rows: Sequence[Entry]) -> None:
    for entry in rows:
        curves = [t.epochs for t in entry.run.finished if t.epochs]
        length = min((len(c) for c in curves), default=0)
        if not length or why_no_time(entry.run):
            continue
        accuracy = np.array([[e.get("accuracy", np.nan) for e in c[:length]] for c in curves])
        seconds = np.median([[e.get("seconds", np.nan) for e in c[:length]] for c in curves], axis=0)
        mean = accuracy.mean(0)
        axes.fill_between(seconds, accuracy.min(0), accuracy.max(0), color=entry.colour, alpha=0.2, linewidth=0)
        axes.plot(seconds, mean, "o-", color=entry.colour, markersize=3.5)
        _draw_number(axes, entry, seconds[-1], mean[-1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("timed seconds")
    axes.set_ylabel("accuracy, plain")


def _draw_number(axes: Axes, entry: Entry, x: float, y: float) -> None:
    axes.plot([x], [y], "o", color=entry.colour, markersize=13)
    axes.annotate(
        str(entry.number), (x, y), color=NUMBER, fontsize=8.5, fontweight="bold", ha="center", va="center_baseline",
        annotation_clip=False,
    )  # fmt: skip


def overview(groups: Sequence[tuple[str, Sequence[Entry]]], form: str = "png") -> bytes:
    """Draw the accuracy of every trial beside the training curves, one row per group of a title and runs.

    ``form`` is png, pdf or svg. The same runs give the same bytes.
    """
    heights = [max(4.0, 1.4 + 0.5 * len(rows)) for _, rows in groups]
    with matplotlib.rc_context(plain_style()):
        figure = Figure(figsize=(12, sum(heights)), layout="constrained")
        grid = figure.subplots(len(groups), 2, squeeze=False, height_ratios=heights)
        for (left, right), (title, rows) in zip(grid, groups, strict=True):
            _draw_strip(left, rows)
            _draw_curves(right, rows)
            for axes in (left, right):
                axes.set_title(literal(title), fontsize=11)
        buffer = io.BytesIO()
        undated: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
        figure.savefig(buffer, format=form, dpi=120, metadata=undated[form])
        return buffer.getvalue()


def _target_lines(axes: Axes, rows: Sequence[Entry], *, vertical: bool) -> None:
    for target in sorted({entry.run.target for entry in rows if entry.run.target is not None}):
        draw = axes.axvline if vertical else axes.axhline
        draw(target, color=INK, linewidth=1, linestyle=":")
