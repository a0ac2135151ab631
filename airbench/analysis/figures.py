"""Figures as inline SVG that follows the page's light or dark colours, and as files."""

import io
import re
import zlib
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from airbench.analysis.page import Picture

COLOURS = ("#3b7dd8", "#d9642b", "#2a9d6f", "#b5579b", "#c99a1e", "#5aa9c9", "#8a6fd1", "#7d7d7d")
"""Distinguishable on white and on black, and with red-green colour blindness."""

SIZE, SMALL = (4.5, 3.6), (3.7, 2.0)
"""In inches: a figure, of which three have room side by side on a wide page, and a panel of many. On a telephone a
figure has the whole width, so that what is written in it stays legible."""

INK, FAINT = "#010203", "#040506"  # placeholders, replaced by the page's own colours
STYLE: Any = {
    "font.size": 11, "svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "airbench",
    "text.color": INK, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.grid": True, "grid.color": FAINT, "grid.linewidth": 0.4,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "axes.axisbelow": True,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
}  # fmt: skip

_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_GEOMETRY = re.compile(r'(?<= )(d|x|y|transform|points)="[^"]*"')
_NAME = re.compile(r'((?:id|href)="#?|url\(#)([^")]+)')


def plain_log_labels(axis: XAxis | YAxis, values: Sequence[float]) -> None:
    """Label a logarithmic axis, which shows ``values``, with plain numbers that leave each other room.

    At 1, 2 and 5 of each power of ten, or at the powers only where there are more than two.
    """
    wide = max(values) > 100 * min(values)
    axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def literal(text: str) -> str:
    """Return ``text`` as matplotlib shows it unchanged: between dollar signs it would expect a formula."""
    return text.replace("$", r"\$")


def picture(
    title: str,
    draw: Callable[[Axes], None],
    alternative: str,
    caption: str = "",
    size: tuple[float, float] = SIZE,
    font: float = 11,
) -> Picture:
    """Let ``draw`` draw a figure of ``size`` in inches, as inline SVG. ``alternative`` says what it shows."""
    with matplotlib.rc_context({**STYLE, "font.size": font}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        return Picture(title, _svg(figure, alternative), alternative, caption)


def plain_style() -> Any:
    """Return the style for files: dark on white."""
    colours = {INK: "#222222", FAINT: "#bbbbbb", "none": "white"}
    return {key: colours.get(value, value) if "color" in key else value for key, value in STYLE.items()}


def themed() -> Any:
    """Return a context in which a figure is drawn in the colours that a page, or its own frame, fills in."""
    return matplotlib.rc_context(STYLE)


def framed_svg(figure: Figure, description: str) -> str:
    """Return a figure drawn when :func:`themed` as an SVG file of its own, light or dark as its reader prefers."""
    svg = _svg(figure, description)
    width, height = re.findall(r"[\d.]+", re.search(r'viewBox="([^"]*)"', svg)[1])[2:]  # type: ignore[index]
    colours = "svg { --paper: #ffffff; --ink: #1c2126; --faint: #b9c0c7; font-family: system-ui, sans-serif }"
    dark = "svg { --paper: #0d1117; --ink: #e4e8ec; --faint: #4b545c }"
    frame = (
        f"<desc>{escape(description)}</desc><style>{colours} @media (prefers-color-scheme: dark) {{ {dark} }}</style>"
        f'<rect width="{width}" height="{height}" rx="6" fill="var(--paper)"/>'
    )
    return re.sub(r"(<svg[^>]*>)", lambda found: found[1] + frame, svg, count=1) + "\n"


def _svg(figure: Figure, salt: str) -> str:
    """Return a figure as SVG in the page's colours, as wide as its place, with names of its own.

    Of two figures with the same name in a page, a hidden one would hide parts of the other.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 width="100%"', svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = _GEOMETRY.sub(lambda found: _NUMBER.sub(lambda n: f"{float(n[0]):.2f}", found[0]), svg)
    own = f"{zlib.crc32((salt + svg).encode('utf-8', 'replace')):08x}"
    return re.sub(r"\n\s*", "\n", _NAME.sub(rf"\1\2-{own}", svg))
