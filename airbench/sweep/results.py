"""What came out of a sweep: a table, a figure for each axis, and the recipe of the best setting."""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import yaml
from matplotlib.figure import Figure

from airbench.analysis.figures import COLOURS
from airbench.analysis.statistics import summarize, welch
from airbench.analysis.summary import table
from airbench.recipe.source import parse_override
from airbench.sweep.axes import as_number, label, overrides
from airbench.sweep.effects import effect_lines, effects
from airbench.sweep.folder import AGAIN, BEST, RECIPE, Sweep
from airbench.sweep.search import accuracies, best


def result_lines(sweep: Sweep) -> list[str]:
    """Return a table of all settings, best first, and what can be said of the best."""
    order, runs, fresh = best(sweep, len(sweep.settings)), sweep.runs(), sweep.runs(AGAIN)
    rows = [("setting", "accuracy in the search", "with fresh seeds", "95% interval")]
    for number in order:
        searched, again = accuracies(runs.get(number)), accuracies(fresh.get(number))
        rows.append((label(sweep.settings[number]), _mean(searched), *_fresh(again)))
    found = effects(sweep, runs)
    return [
        *table(rows),
        "",
        *(() if found is None else (*effect_lines(found), "")),
        *_verdict(sweep, order, {n: accuracies(run) for n, run in fresh.items()}),
    ]


def _mean(values: Sequence[float]) -> str:
    s = summarize(values)
    return f"{s.mean:.2%}" + ("" if math.isnan(s.std) else f" ± {s.std:.2%}") + f" (n = {s.n})"


def _fresh(values: Sequence[float]) -> tuple[str, str]:
    if not values:
        return "", ""
    s = summarize(values)
    return _mean(values), "-" if math.isnan(s.low) else f"{s.low:.2%} to {s.high:.2%}"


def winner(sweep: Sweep) -> int:
    """Return the number of the best setting: by its fresh trials, if the best of the search were trained again."""
    fresh, order = sweep.runs(AGAIN), best(sweep, sweep.top)
    known = {number: summarize(accuracies(fresh[number])).mean for number in order if number in fresh}
    return max(known, key=lambda number: known[number]) if known else order[0]


def _verdict(sweep: Sweep, order: Sequence[int], fresh: dict[int, list[float]]) -> list[str]:
    first = winner(sweep)
    lines = [f"best: {label(sweep.settings[first])}"]
    values = fresh.get(first, [])
    if not values:
        lines.append(
            f"the best of {len(order)} noisy means flatters itself: train it again with fresh seeds before believing it"
        )
    rivals = [(n, fresh.get(n, [])) for n in order[: sweep.top] if n != first]
    for number, rival in rivals:
        if len(values) < 2 or len(rival) < 2:
            continue
        found = welch(values, rival, len(rivals))
        if not math.isnan(found.p):
            told = "is better than" if found.p < 0.05 else "cannot be told from"
            lines.append(
                f"  it {told} {label(sweep.settings[number])}: {found.difference:+.2%} "
                f"({found.low:+.2%} to {found.high:+.2%}), p = {found.p:.2g}"
            )
    if sweep.on_test:
        lines.append("settings were judged on the test images: what was chosen so proves nothing on them")
    return lines


def write_best(sweep: Sweep) -> None:
    """Write the recipe of the best setting: its settings, on top of the sweep's recipe."""
    number = winner(sweep)
    values: dict[str, object] = {}
    for override in overrides(sweep.settings[number]):
        _merge(values, parse_override(override).plain())
    if not sweep.on_test:
        _merge(values, {"data": {"held_out": None}})
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
    (sweep.path / BEST).write_text(f"extends: {RECIPE}\n{text}", encoding="utf-8")


def _merge(into: dict[str, object], other: dict[str, object]) -> None:
    for key, value in other.items():
        inner = into.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            _merge(inner, value)
        else:
            into[key] = value


def draw(sweep: Sweep) -> None:
    """Draw accuracy against each axis, a dot for each trial, into ``sweep.png``."""
    keys, first = list(sweep.settings[0]), winner(sweep)
    found = {number: [100 * a for a in accuracies(run) if a > 0] for number, run in sweep.runs().items()}
    with matplotlib.rc_context({"font.size": 10, "axes.grid": True, "grid.linewidth": 0.3}):
        figure = Figure(figsize=(4.6 * len(keys), 3.6), layout="constrained")
        for column, (axes, key) in enumerate(zip(np.atleast_1d(figure.subplots(1, len(keys))), keys, strict=True)):
            _draw_axis(axes, sweep, key, found, first)
            if column == 0:
                axes.set_ylabel("accuracy in %" + (", test images" if sweep.on_test else ", held-out images"))
        figure.savefig(sweep.path / "sweep.png", dpi=130)


def _draw_axis(axes: matplotlib.axes.Axes, sweep: Sweep, key: str, found: dict[int, list[float]], first: int) -> None:
    values = [setting[key] for setting in sweep.settings]
    numbers = [as_number(value) for value in values]
    scale = [n for n in numbers if n is not None]
    numeric = len(scale) == len(values)
    order = scale if numeric else [float(list(dict.fromkeys(values)).index(value)) for value in values]
    places = dict(zip(values, order, strict=True))
    for number, value in enumerate(values):
        dots = found.get(number, [])
        colour = COLOURS[1] if number == first else COLOURS[0]
        axes.plot([places[value]] * len(dots), dots, "o", color=colour, alpha=0.7, markersize=5)
    if numeric and min(scale) > 0 and max(scale) >= 8 * min(scale):
        axes.set_xscale("log")
    if not numeric:
        axes.set_xticks(list(places.values()), [str(v) for v in places])
    axes.set_xlabel(key.replace("$", r"\$"))
