"""A report as Markdown or CSV."""

import csv
import io
from collections.abc import Sequence

from airbench.analysis.compare import compare_runs, comparison_lines, same_images, warnings
from airbench.analysis.labels import labels
from airbench.analysis.machines import time_notes
from airbench.analysis.report.order import best_first
from airbench.analysis.report.sections import Section
from airbench.analysis.summary import summarize_run, summary_rows
from airbench.runs import RunRecord

_COLUMNS = (
    "run",
    "recipe",
    "n",
    "failed",
    "mean",
    "std",
    "low",
    "high",
    "plain",
    "median_seconds",
    "target",
    "reached",
)


def _cells(run: RunRecord) -> list[object]:
    s = summarize_run(run)
    a = s["accuracy"]
    return [
        run.path.name, run.name, s["finished"], s["failed"], a["mean"], a["std"], a["low"], a["high"],
        s["plain_accuracy"]["mean"], s["seconds"]["median"] if s["seconds"] else None, s["target"], s["target_reached"],
    ]  # fmt: skip


def csv_report(runs: Sequence[RunRecord]) -> str:
    """One row per run, with unrounded numbers."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_cells(run) for run in best_first(runs))
    return out.getvalue()


def markdown_report(runs: Sequence[RunRecord], sections: Sequence[Section] = ()) -> str:
    """Leaderboard tables, each followed by the comparisons; then the sections."""
    lines: list[str] = []
    for group in same_images(runs):
        ordered = best_first(group)
        lines += [*markdown_table(summary_rows(ordered)), ""]
        notes = warnings(ordered) if len(group) > 1 else time_notes(ordered, labels(ordered))
        lines += [line for note in notes for line in (note, "")]
        if len(group) > 1:
            lines += ["```", *_comparisons(ordered), "```", ""]
    for section in sections:
        lines += [f"## {section.title}", "", section.markdown, ""]
    return "\n".join(lines)


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, the first of whose rows is its header."""
    header, *body = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
    return [f"| {header} |", "|" + "---|" * len(rows[0]), *(f"| {row} |" for row in body)]


def _comparisons(runs: Sequence[RunRecord]) -> list[str]:
    return [line for comparison in compare_runs(runs) for line in comparison_lines(comparison)]
