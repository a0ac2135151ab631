"""Sweeps and telescopes in a report: the best setting and how sure it is, what matters, the cost, the recipe."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from airbench.analysis.page import Cell, Html, html_legend, html_panels, html_table, html_tiles
from airbench.analysis.report.sections import Section
from airbench.analysis.report.tables import markdown_table
from airbench.errors import AirbenchError
from airbench.recipe.source import short_names
from airbench.sweep import folder, telescope
from airbench.sweep.axes import label, parse_axis
from airbench.sweep.effects import SIGNIFICANT, Effects, effect_note, effect_rows
from airbench.sweep.folder import BEST, RECIPE, Sweep
from airbench.sweep.optimum import Optimum
from airbench.sweep.results import Outcome, best_recipe, outcome_of
from airbench.sweep.telescope import Telescope
from airbench.text import counted

SHOWN = 10
"""Settings in the table; the others are folded."""

_EFFECTS = "All else equal, by {note}. Bold: significant at the 5% level, jointly."


def sweep_section(path: Path) -> Section:
    """Return the section on the sweep or telescope in a folder. Raises AirbenchError if it is not finished."""
    if telescope.is_telescope(path):
        return _telescope_section(telescope.read(path))
    sweep = folder.read(path)
    if not sweep.settings:
        raise AirbenchError(f"{path}: no setting was trained; airbench sweep --resume {path}")
    found = outcome_of(sweep)
    *varied, last = short_names(sweep.settings[0]).values()
    over = f"{', '.join(varied)} and {last}" if varied else last
    title = f"Sweep of {sweep.recipe().recipe.name} over {over}"
    lines = _markdown(sweep, found)
    return Section(title, _html(sweep, found), "\n".join(lines), f"a sweep of {len(sweep.settings)} settings")


def _about(sweep: Sweep) -> str:
    """Say what was tried, and on what it was judged."""
    axes = ", ".join(map(_range, sweep.axes)) or ", ".join(sweep.settings[0])
    chosen = " chosen by Optuna" if sweep.count is not None else ""
    trials = "one trial" if sweep.trials == 1 else f"{sweep.trials} trials"
    held_out = sweep.recipe().recipe.data.held_out
    judged = "the test images" if sweep.on_test else f"{held_out or 0:,} held-out training images"
    tried = f"{len(sweep.settings)} settings{chosen} of {axes}, {trials} each"
    return f"{tried}, judged on {judged}. Folder: {sweep.path.name}."


def _range(text: str) -> str:
    """Return an axis with its range to four digits."""
    axis = parse_axis(text)
    if axis.choices:
        return text
    return f"{axis.key}={axis.word(axis.low)}..{axis.word(axis.high)}" + ":log" * axis.log


def _accuracy(found: Outcome) -> tuple[str, str]:
    """Return the accuracy of the best setting, and how sure it is."""
    s = found.accuracy
    if s is None:
        return "none", found.failed
    trials = f"{s.n} {'fresh ' if found.fresh else ''}trial{'' if s.n == 1 else 's'}"
    if found.failed:
        trials += f", {found.failed}"
    if not found.fresh:
        return f"{s.mean:.2%}", f"in the search, {trials}; not trained again"
    if found.failed or math.isnan(s.low):
        return f"{s.mean:.2%}", f"{trials}; no interval"
    jointly = f", jointly for the {found.jointly} trained again" if found.jointly > 1 else ""
    return f"{s.mean:.2%}", f"95% interval {s.low:.2%} to {s.high:.2%}{jointly}, {trials}"


# ------------------------------------------------------------------------------------------- html


def _html(sweep: Sweep, found: Outcome) -> str:
    from airbench.sweep.figure import pictures  # loads matplotlib

    accuracy, sure = _accuracy(found)
    tiles = [
        ("Best setting", label(sweep.settings[found.best]), ""),
        ("Its accuracy", accuracy, sure),
        ("Cost", found.cost.number, found.cost.spent),
    ]
    return "".join(
        [
            f"<p>{escape(_about(sweep))}</p>",
            html_tiles(tiles),
            *_notes(found.said),
            html_panels(pictures(sweep, found.best)),
            _importance(found.importance),
            "" if found.effects is None else _effects(found.effects),
            _settings(found.rows),
            _recipe(sweep, found.best),
        ]
    )


def _notes(lines: Iterable[str]) -> list[str]:
    return [f'<p class="note">{escape(_sentence(line))}</p>' for line in lines]


def _sentence(line: str) -> str:
    """Return a line of the terminal's as a sentence that stands alone."""
    text = line.strip()
    text = f"The best setting{text[2:]}" if text.startswith("it ") else text
    return f"{text[0].upper()}{text[1:]}."


def _importance(found: dict[str, float]) -> str:
    if not found:
        return ""
    names = short_names(found)
    rows: list[Sequence[Cell]] = [("axis", "importance")]
    for key, share in found.items():
        bar = f'<span><span class="bar" style="width:{8 * share:.2f}rem"></span>{share:.0%}</span>'
        rows.append((names[key], Html(bar)))
    note = '<p class="note mute">For being among the best settings, by Optuna.</p>'
    return f"<h3>Importance</h3>{note}{html_table(rows)}"


def _effects(found: Effects) -> str:
    header, *rows = effect_rows(found)
    lines: list[Sequence[Cell]] = [("axis", *header[1:-1])]
    for *cells, certain in rows:
        lines.append([Html(f"<b>{escape(cell)}</b>") if certain else cell for cell in cells])
    note = f'<p class="note mute">{escape(_EFFECTS.format(note=effect_note(found)))}</p>'
    return f"<h3>What matters</h3>{note}{html_table(lines)}"


def _settings(rows: Sequence[tuple[str, ...]]) -> str:
    header, *body = _without_empty_columns(rows)
    shown = f"<h3>Settings, best of the search first</h3>{html_table([header, *body[:SHOWN]])}"
    if len(body) <= SHOWN:
        return shown
    rest = html_table([header, *body[SHOWN:]])
    return f"{shown}<details><summary>The other {len(body) - SHOWN}</summary>{rest}</details>"


def _without_empty_columns(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    kept = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return list(zip(*kept, strict=True))


def _recipe(sweep: Sweep, number: int) -> str:
    base = (sweep.path / RECIPE).read_text(encoding="utf-8")
    return (
        f"<h3>{BEST}: the recipe of the best</h3><pre>{escape(best_recipe(sweep, number))}</pre>"
        f"<details><summary>{RECIPE}, which it extends</summary><pre>{escape(base)}</pre></details>"
    )


# ------------------------------------------------------------------------------------------- markdown


def _markdown(sweep: Sweep, found: Outcome) -> list[str]:
    accuracy, sure = _accuracy(found)
    header, *body = _without_empty_columns(found.rows)
    left_out = len(body) - SHOWN
    lines = [
        _about(sweep),
        "",
        f"- best setting: `{label(sweep.settings[found.best])}`",
        f"- its accuracy: {accuracy} ({sure})",
        *(f"- {_sentence(line)}" for line in found.said),
        f"- cost: {found.cost}",
    ]
    if found.importance:
        names = short_names(found.importance)
        shares = ", ".join(f"{names[key]} {share:.0%}" for key, share in found.importance.items())
        lines.append(f"- importance, by Optuna: {shares}")
    lines += ["", *markdown_table([header, *body[:SHOWN]])]
    lines += [f"\nand {counted(left_out, 'more setting')}"] if left_out > 0 else []
    if found.effects is not None:
        lines += [
            "",
            *markdown_table(effect_rows(found.effects)),
            "",
            SIGNIFICANT + ".",
            f"By {effect_note(found.effects)}.",
        ]
    return [*lines, "", f"{BEST}:", "", "```yaml", best_recipe(sweep, found.best).rstrip(), "```"]


# ------------------------------------------------------------------------------------------- telescopes


def _telescope_section(plan: Telescope) -> Section:
    from airbench.sweep.telescope_figure import level_colours, telescope_pictures  # loads matplotlib

    levels = [_level(plan, level) for level in range(len(plan.values))]
    found = outcome_of(levels[-1], levels[:-1])
    optima = telescope.optima(plan, levels)
    rows = _optima_rows(plan, optima)
    axes = [axis for axis in map(parse_axis, plan.axes) if axis.key in optima]
    drift = [f"The best {axis.key} {telescope.drift_text(axis, optima[axis.key])}" for axis in axes]
    said = f"A sweep at each of {len(levels)} levels of {plan.key}, each around the best setting of the one before."
    html = "".join(
        [
            f"<p>{escape(said)}</p>",
            html_legend([(colour, "", name) for colour, name in level_colours(plan)]),
            html_panels(telescope_pictures(plan, levels, optima)),
            f"<h3>Optima</h3>{html_table(rows)}" if len(rows) > 1 else "",
            *_notes(drift),
            f"<h3>The last level, {escape(plan.key)}={escape(plan.values[-1])}</h3>",
            _html(levels[-1], found),
        ]
    )
    table = [*markdown_table(rows), "", *(f"- {_sentence(line)}" for line in drift), ""] if len(rows) > 1 else []
    last = f"The last level, {plan.key}={plan.values[-1]}:"
    markdown = [said, "", *table, last, "", *_markdown(levels[-1], found)]
    title = f"Telescope of {levels[-1].recipe().recipe.name} over {plan.key}"
    return Section(title, html, "\n".join(markdown), f"a telescope of {len(levels)} levels")


def _level(plan: Telescope, level: int) -> Sweep:
    path = plan.level_path(level)
    if not (path / folder.PLAN).is_file():
        raise AirbenchError(f"{plan.path}: level {level + 1} was not begun; airbench sweep --resume {plan.path}")
    return folder.read(path)


def _optima_rows(plan: Telescope, found: dict[str, list[Optimum]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("axis", plan.key, "best", "95% interval")]
    for axis in map(parse_axis, plan.axes):
        for value, each in zip(plan.values, found.get(axis.key, []), strict=False):
            at, low, high = telescope.in_units(axis, each)
            rows.append((axis.key, value, f"{at:.3g}", f"{low:.3g} to {high:.3g}"))
    return rows
