"""Comparisons of all pairs of runs, as a table of a page."""

import math
from collections.abc import Sequence
from html import escape

from airbench.analysis.compare import Comparison, compare_runs, engine_lines
from airbench.analysis.page import html_table
from airbench.analysis.statistics import ALPHA
from airbench.runs import RunRecord

SHOWN = 10
"""With more comparisons than this, those that claim nothing are folded."""


def comparison_html(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    """Return every comparison of ``runs``; of many, first those that claim a difference."""
    found = compare_runs(runs, names=names)
    note = f'<p class="note mute">{escape(_method(found))}</p>'
    if len(found) <= SHOWN:
        return note + _table(found)
    claimed = [c for c in found if c.accuracy.p < ALPHA]
    said = f"<p>{len(claimed)} of {len(found)} pairs differ in accuracy by more than chance explains.</p>"
    folded = f"<details><summary>All {len(found)} comparisons</summary>{_table(found)}</details>"
    return note + said + (_table(claimed) if claimed else "") + folded


def _method(found: Sequence[Comparison]) -> str:
    methods = ", or ".join(dict.fromkeys(c.method for c in found))
    return f"Differences in accuracy by {methods}; intervals hold jointly. Times: ratio of geometric means."


def _table(found: Sequence[Comparison]) -> str:
    header = ("run", "against", "accuracy", "95% interval", "p", "times as long", "conclusion")
    return html_table([header, *(_row(c) for c in found)])


def _row(c: Comparison) -> tuple[str | tuple[str, str], ...]:
    interval = "-" if c.no_test else f"{c.accuracy.low:+.2%} to {c.accuracy.high:+.2%}"
    p = "-" if math.isnan(c.accuracy.p) else f"{c.accuracy.p:.2g}"
    said = "; ".join((c.verdict, *engine_lines(c)))
    kind = "wrap good" if c.accuracy.p < ALPHA else "wrap"
    times = "-" if c.times is None else f"{c.times:.3f}"
    return (c.names[0], (c.names[1], "name"), f"{c.accuracy.difference:+.2%}", interval, p, times, (said, kind))
