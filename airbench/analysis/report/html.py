"""A report as an HTML page."""

from collections.abc import Iterable, Sequence
from html import escape

from airbench.analysis.compare import same_images, warnings
from airbench.analysis.labels import labels, short_devices
from airbench.analysis.machines import time_notes, why_no_time
from airbench.analysis.page import (
    Html,
    html_legend,
    html_number,
    html_page,
    html_panels,
    html_table,
    html_tabs,
    html_tiles,
)
from airbench.analysis.report.comparisons import comparison_html
from airbench.analysis.report.figures import Entry, accuracy_against_time, accuracy_strip, entries, training_curves
from airbench.analysis.report.order import best_first, count, evaluated_on
from airbench.analysis.report.provenance import provenance_html
from airbench.analysis.report.sections import Section
from airbench.analysis.report.spectra import KINDS, SAID, spectra
from airbench.analysis.summary import summarize_run, summary_rows
from airbench.analysis.verify import verify
from airbench.runs import RunRecord

_NOTE = (
    "Accuracy: mean ± standard deviation over trials, with the recipe's test-time augmentation; plain: without it. "
    "Interval: of the mean, by Student's t. Seconds: median, on the clock. A record passes every check of "
    "<code>airbench verify</code>."
)


def html_report(runs: Sequence[RunRecord], sections: Sequence[Section] = ()) -> str:
    """Return the report as one HTML page without external resources."""
    named = dict(zip([run.path for run in runs], labels(runs), strict=True))
    chapters: list[tuple[str, str]] = []
    groups = same_images(runs)
    for group in groups:
        ordered = best_first(group)
        rows = entries(ordered, [named[run.path] for run in ordered])
        on = f" on {evaluated_on(group[0])}"
        chapters.append((f"Leaderboard{on}", _leaderboard(rows)))
        if len(group) > 1:
            names = [entry.name for entry in rows]
            chapters.append(
                (f"Comparisons{on}", _paragraphs(warnings(ordered, names)) + comparison_html(ordered, names))
            )
    everything = [run for group in groups for run in best_first(group)]
    rows = entries(everything, [named[run.path] for run in everything])
    if found := _spectra(rows):
        chapters.append(("Momentum spectra", found))
    chapters += [(section.title, section.html) for section in sections]
    if runs:
        found = "".join(provenance_html(entry.run, entry.name) for entry in rows)
        chapters.append(("Provenance", found))
    return html_page(
        _title(runs, sections), _header(runs, sections, [title for title, _ in chapters]) + _body(chapters)
    )


def _title(runs: Sequence[RunRecord], sections: Sequence[Section]) -> str:
    names = [*dict.fromkeys(run.name for run in runs), *(section.title for section in sections)]
    return "airbench: " + ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _header(runs: Sequence[RunRecord], sections: Sequence[Section], titles: Sequence[str]) -> str:
    parts = [count(runs)] if runs else []
    images = list(dict.fromkeys(evaluated_on(group[0]) for group in same_images(runs)))
    parts += [f"on {' and '.join(images)}"] if images else []
    dates = sorted({date for run in runs if (date := run.text("started")[:10])})
    parts += [dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"] if dates else []
    parts += [section.summary for section in sections]
    links = "".join(f'<a href="#part-{i}">{escape(title)}</a>' for i, title in enumerate(titles, 1))
    shown = escape(" · ".join(parts))
    return f"<header><h1>airbench report</h1><p>{shown}</p><nav>{links}</nav></header>"


def _body(chapters: Iterable[tuple[str, str]]) -> str:
    return "\n".join(
        f'<section><h2 id="part-{i}">{escape(title)}</h2>\n{content}</section>'
        for i, (title, content) in enumerate(chapters, 1)
    )


def _paragraphs(lines: Iterable[str]) -> str:
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)


# ------------------------------------------------------------------------------------------- leaderboard


def _leaderboard(rows: Sequence[Entry]) -> str:
    runs, names = [entry.run for entry in rows], [entry.name for entry in rows]
    header, *cells = summary_rows(runs)
    lines: list[list[str | tuple[str, str] | Html]] = [["run", *header[1:], "record"]]
    records = [run.target is not None and verify(run, run.target).is_record for run in runs]
    for entry, row, record in zip(rows, cells, records, strict=True):
        name = Html(html_number(entry.colour, str(entry.number)) + escape(entry.name))
        lines.append([name, *row[1:], ("yes", "good") if record else ("no", "mute")])
    notes = f'<p class="note mute">{_NOTE}</p>{_paragraphs(time_notes(runs, names))}'
    return html_tiles(_tiles(rows, sum(records))) + html_table(lines) + notes + _figures(rows)


def _tiles(rows: Sequence[Entry], records: int) -> list[tuple[str, str, str]]:
    """What comes first: the highest mean, and the least time in which a target was reached."""
    best = max(rows, key=lambda entry: summarize_run(entry.run)["accuracy"]["mean"])
    accuracy = summarize_run(best.run)["accuracy"]
    interval = "" if accuracy["low"] is None else f"; 95% interval {accuracy['low']:.2%} to {accuracy['high']:.2%}"
    chosen = f", not corrected for being the highest of {len(rows)}" if len(rows) > 1 and interval else ""
    tiles = [
        ("Highest mean accuracy", f"{accuracy['mean']:.2%}", f"{best.name}, n = {accuracy['n']}{interval}{chosen}")
    ]
    summaries = [(entry, summarize_run(entry.run)) for entry in rows]
    timed = [(s["seconds"]["median"], entry) for entry, s in summaries if s["seconds"] and s["target_reached"]]
    if timed:
        seconds, entry = min(timed, key=lambda pair: pair[0])
        (device,) = short_devices([entry.run.machine("device")])
        on = f", on {device}" if device else ""
        tiles.append(
            ("Least time to reach its target", f"{seconds:.2f} s", f"{entry.name}{on}: {entry.run.target:.2%}")
        )
    why = "by the rule of airbench verify: at least 8 trials, p < 0.01, on all of the genuine images, and more"
    return [*tiles, ("Records", f"{records} of {len(rows)}", why)]


def _figures(rows: Sequence[Entry]) -> str:
    pictures = [accuracy_strip(rows)]
    timed = [entry for entry in rows if not why_no_time(entry.run)]
    if timed:
        pictures += [accuracy_against_time(timed), training_curves(timed)]
    legend = html_legend([(entry.colour, str(entry.number), entry.name) for entry in rows])
    return legend + html_panels(pictures)


def _spectra(rows: Sequence[Entry]) -> str:
    """One choice of all runs that recorded spectra; empty if none did."""
    contents = [(entry.name, html_panels(pictures)) for entry in rows if (pictures := spectra(entry.run, entry.name))]
    if not contents:
        return ""
    legend = html_legend([(colour, "", f"{kind} orthogonalisation") for kind, colour in KINDS.items()])
    return f'<p class="note mute">{escape(SAID)}</p>{legend}{html_tabs("spectra", contents)}'
