"""Singular values of the last updates: what orthogonalisation did to them."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from airbench.analysis.figures import COLOURS, SMALL, literal, picture
from airbench.analysis.page import Picture
from airbench.runs import RunRecord

SAID = (
    "Singular values of each filter bank's last momentum, largest first: before orthogonalisation (divided by the "
    "largest) they decay; after it they are close to one."
)
KINDS = {"before": COLOURS[1], "after": COLOURS[0]}
"""What is drawn, and its colour."""

SMALLEST = 1e-5
"""Smaller values are drawn as this."""


def spectra(run: RunRecord, run_name: str) -> list[Picture]:
    """Draw a figure for each matrix: before and after orthogonalisation. None if the run recorded none."""
    usable = {
        name: {kind: _sorted(values[kind]) for kind in KINDS}
        for name, values in run.spectra.items()
        if isinstance(values, dict) and all(_is_spectrum(values.get(kind)) for kind in KINDS)
    }
    if not usable:
        return []
    lowest = min(float(y.min()) for lines in usable.values() for y in lines.values())
    highest = max(float(y.max()) for lines in usable.values() for y in lines.values())
    return [_panel(run_name, str(name), lines, (lowest / 1.3, highest * 1.3)) for name, lines in usable.items()]


def _panel(run_name: str, name: str, lines: dict[str, Any], limits: tuple[float, float]) -> Picture:
    title = name.removesuffix(".weight")
    ends = ", ".join(f"{kind} {y[0]:.2g} to {y[-1]:.2g}" for kind, y in lines.items())

    def draw(axes: Axes) -> None:
        for kind, y in lines.items():
            axes.plot(np.linspace(0, 1, len(y)), y, color=KINDS[kind])
        axes.set_yscale("log")
        axes.set_ylim(*limits)
        axes.set_xticks([])
        axes.set_title(literal(title), fontsize="medium")

    said = f"{run_name}: singular values of {title}, {ends}"
    return picture("", draw, said, size=SMALL, font=10)


def _sorted(values: list[float]) -> Any:
    return np.maximum(np.sort(np.asarray(values, float))[::-1], SMALLEST)


def _is_spectrum(values: object) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    )
