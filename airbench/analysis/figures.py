"""Figures of runs, as inline SVG that follows the page's light or dark colours."""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from airbench.analysis.machines import why_no_time
from airbench.analysis.statistics import summarize
from airbench.runs import RunRecord

COLOURS = ("#3b7dd8", "#d9642b", "#2a9d6f", "#b5579b", "#c99a1e", "#5aa9c9", "#8a6fd1", "#7d7d7d")
"""Distinguishable on white and on black, and with red-green colour blindness."""

_INK, _FAINT = "#010203", "#040506"  # placeholders, replaced by the page's own colours
_STYLE: Any = {
    "font.size": 11, "svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "airbench",
    "text.color": _INK, "axes.edgecolor": _FAINT, "axes.labelcolor": _INK, "xtick.color": _INK,
    "ytick.color": _INK, "axes.grid": True, "grid.color": _FAINT, "grid.linewidth": 0.4,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "axes.axisbelow": True,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A figure with its text alternative."""

    title: str
    svg: str
    alternative: str


def _literal(text: str) -> str:
    """Return ``text`` as matplotlib shows it unchanged: between dollar signs it would expect a formula."""
    return text.replace("$", r"\$")


def accuracy_strip(runs: Sequence[RunRecord], labels: Sequence[str]) -> Picture:
    """One row per run: a dot per trial, the mean and its 95% interval."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 1.1 + 0.5 * len(runs)))
        _draw_strip(figure.subplots(), runs, labels)
        alternative = "; ".join(
            f"{label}: mean {np.mean([t.accuracy for t in run.finished]):.2%} over {len(run.finished)} trials"
            for run, label in zip(runs, labels, strict=True)
        )
        return Picture(
            "Accuracy of every trial",
            _svg(figure),
            f"One dot per trial; bars show the 95% interval of each mean. {alternative}.",
        )


def _draw_strip(axes: Axes, runs: Sequence[RunRecord], labels: Sequence[str]) -> None:
    for row, run in enumerate(runs):
        values = [t.accuracy for t in run.finished]
        jitter = (np.arange(len(values)) % 5 - 2) * 0.06
        colour = COLOURS[row % len(COLOURS)]
        axes.plot(values, row + jitter, "o", color=colour, alpha=0.55, markersize=5)
        s = summarize(values)
        if not math.isnan(s.low):
            axes.plot([s.low, s.high], [row, row], color=colour, linewidth=2)
        axes.plot([s.mean], [row], "|", color=colour, markersize=18, markeredgewidth=2.5)
    _target_lines(axes, runs, vertical=True)
    axes.set_yticks(range(len(runs)), [_literal(label) for label in labels])
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set_xlabel("accuracy, with test-time augmentation")


def accuracy_against_time(runs: Sequence[RunRecord], labels: Sequence[str]) -> Picture:
    """Mean accuracy against median seconds, with the Pareto front: the runs that no other beats in both."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 4.2))
        axes = figure.subplots()
        points = []
        for row, (run, label) in enumerate(zip(runs, labels, strict=True)):
            s = summarize([t.accuracy for t in run.finished])
            seconds = float(np.median([t.seconds for t in run.finished]))
            colour = COLOURS[row % len(COLOURS)]
            if not math.isnan(s.low):
                axes.plot([seconds, seconds], [s.low, s.high], color=colour, linewidth=2)
            axes.plot([seconds], [s.mean], "o", color=colour, markersize=8, label=_literal(label))
            points.append((seconds, s.mean, label))
        front = pareto_front(points)
        axes.plot([x for x, _, _ in front], [y for _, y, _ in front], "--", color=_INK, linewidth=1, zorder=0)
        _target_lines(axes, runs, vertical=False)
        if max(x for x, _, _ in points) > 3 * min(x for x, _, _ in points):
            axes.set_xscale("log")
            for axis_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
                axis_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.margins(0.12)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        axes.set_xlabel("median timed seconds")
        axes.set_ylabel("mean accuracy")
        axes.legend()
        names = ", ".join(label for _, _, label in front)
        return Picture("Accuracy against time", _svg(figure), f"On the Pareto front: {names}.")


def pareto_front(points: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Of (seconds, accuracy, label) those that no other beats in both, by time."""
    front: list[tuple[float, float, str]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def training_curves(runs: Sequence[RunRecord], labels: Sequence[str]) -> Picture:
    """Plain test accuracy after each epoch against timed seconds: mean over trials, with a band from min to max."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 4.2))
        _draw_curves(figure.subplots(), runs, labels)
        return Picture(
            "Training curves",
            _svg(figure),
            "Test accuracy after each epoch: mean over trials, band from min to max.",
        )


def _draw_curves(axes: Axes, runs: Sequence[RunRecord], labels: Sequence[str]) -> None:
    for row, (run, label) in enumerate(zip(runs, labels, strict=True)):
        curves = [t.epochs for t in run.finished if t.epochs]
        length = min((len(c) for c in curves), default=0)
        if not length or why_no_time(run):
            continue
        accuracy = np.array([[e.get("accuracy", np.nan) for e in c[:length]] for c in curves])
        seconds = np.median([[e.get("seconds", np.nan) for e in c[:length]] for c in curves], axis=0)
        colour = COLOURS[row % len(COLOURS)]
        axes.fill_between(seconds, accuracy.min(0), accuracy.max(0), color=colour, alpha=0.2, linewidth=0)
        axes.plot(seconds, accuracy.mean(0), "o-", color=colour, markersize=3.5, label=_literal(label))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("timed seconds")
    axes.set_ylabel("accuracy, without test-time augmentation")
    axes.legend(loc="lower right")


def overview(groups: Sequence[tuple[str, Sequence[RunRecord], Sequence[str]]], form: str = "png") -> bytes:
    """Draw the accuracy of every trial beside the training curves, one row per group of (title, runs, labels).

    ``form`` is png, pdf or svg. The same runs give the same bytes.
    """
    colours = {_INK: "#222222", _FAINT: "#bbbbbb", "none": "white"}
    plain = {key: colours.get(value, value) if "color" in key else value for key, value in _STYLE.items()}
    heights = [max(4.0, 1.4 + 0.5 * len(runs)) for _, runs, _ in groups]
    with matplotlib.rc_context(plain):
        figure = Figure(figsize=(12, sum(heights)), layout="constrained")
        grid = figure.subplots(len(groups), 2, squeeze=False, height_ratios=heights)
        for (left, right), (title, runs, labels) in zip(grid, groups, strict=True):
            _draw_strip(left, runs, labels)
            _draw_curves(right, runs, labels)
            for axes in (left, right):
                axes.set_title(_literal(title), fontsize=11)
        buffer = io.BytesIO()
        undated: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
        figure.savefig(buffer, format=form, dpi=120, metadata=undated[form])
        return buffer.getvalue()


def spectra(run: RunRecord, label: str) -> Picture | None:
    """Singular values of each matrix's last momentum, before and after orthogonalisation; None if not recorded."""
    usable = {
        name: values for name, values in run.spectra.items()
        if isinstance(values, dict) and all(_is_spectrum(values.get(k)) for k in ("before", "after"))
    }  # fmt: skip
    if not usable:
        return None
    columns = min(3, len(usable))
    rows = -(-len(usable) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 0.4 + 1.9 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(usable) :]:
            axes.set_visible(False)
        for axes, (name, values) in zip(grid.flat, usable.items(), strict=False):
            for key, colour in (("before", COLOURS[1]), ("after", COLOURS[0])):
                y = np.sort(np.asarray(values[key], float))[::-1]
                axes.plot(np.linspace(0, 1, len(y)), np.maximum(y, 1e-5), color=colour, label=key)
            axes.set_yscale("log")
            axes.set_title(_literal(name.removesuffix(".weight")), fontsize=10)
            axes.set_xticks([])
        grid[0, 0].legend(fontsize=9)
        return Picture(
            f"Spectra of the last updates: {label}",
            _svg(figure),
            "Singular values of each filter bank's last momentum, largest first: before orthogonalisation (divided by "
            "the largest) they decay; after it they are close to one.",
        )


def _is_spectrum(values: object) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(v, int | float) for v in values)


def _target_lines(axes: Axes, runs: Sequence[RunRecord], *, vertical: bool) -> None:
    for target in sorted({run.target for run in runs if run.target is not None}):
        draw = axes.axvline if vertical else axes.axhline
        draw(target, color=_INK, linewidth=1, linestyle=":")


def themed() -> Any:
    """Return a context in which a figure is drawn in the colours that a page, or its own frame, fills in."""
    return matplotlib.rc_context(_STYLE)


def framed_svg(figure: Figure, description: str) -> str:
    """Return a figure drawn when :func:`themed` as an SVG file of its own, light or dark as its reader prefers."""
    svg = _svg(figure)
    width, height = re.findall(r"[\d.]+", re.search(r'viewBox="([^"]*)"', svg)[1])[2:]  # type: ignore[index]
    colours = "svg { --paper: #ffffff; --ink: #1c2126; --faint: #b9c0c7; font-family: system-ui, sans-serif }"
    dark = "svg { --paper: #0d1117; --ink: #e4e8ec; --faint: #4b545c }"
    frame = (
        f"<desc>{escape(description)}</desc><style>{colours} @media (prefers-color-scheme: dark) {{ {dark} }}</style>"
        f'<rect width="{width}" height="{height}" rx="6" fill="var(--paper)"/>'
    )
    return re.sub(r"(<svg[^>]*>)", lambda found: found[1] + frame, svg, count=1) + "\n"


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "var(--ink)").replace(_FAINT, "var(--faint)")
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 width="100%"', svg, count=1)
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
