"""The result of a study: a table to print, numbers, and a figure."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from airbench.analysis.summary import table
from airbench.runs.files import replace_file

STYLE: Any = {
    "font.size": 11, "axes.grid": True, "grid.color": "#cccccc", "grid.linewidth": 0.5, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "axes.axisbelow": True, "figure.facecolor": "white",
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A finished study. ``rows`` is a table with its header; ``numbers`` holds the unrounded values, and more."""

    name: str
    settings: dict[str, Any]
    rows: Sequence[Sequence[str]]
    numbers: Any
    figure: Figure
    conclusion: str

    def save(self, folder: Path) -> list[Path]:
        """Write ``NAME.json`` and ``NAME.png`` into ``folder``, replacing files atomically. Return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        what = {"study": self.name, "settings": self.settings, "seen": self.conclusion, "results": self.numbers}
        text = json.dumps(what, indent=1, allow_nan=False) + "\n"
        numbers, figure, png = folder / f"{self.name}.json", folder / f"{self.name}.png", io.BytesIO()
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
        replace_file(numbers, text.encode("utf-8"))
        replace_file(figure, png.getvalue())
        return [numbers, figure]

    def lines(self) -> list[str]:
        """Return the lines of the table and the conclusion."""
        return [*table(self.rows), "", self.conclusion]
