"""A report on runs: one self-contained HTML file, a Markdown or CSV table, or a figure as PNG, PDF or SVG."""

import csv
import io
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path

import yaml

from airbench.analysis.compare import compare_runs, comparison_lines, same_images, warnings
from airbench.analysis.experiments import refuse_duplicates
from airbench.analysis.labels import labels
from airbench.analysis.machines import time_notes, why_no_time
from airbench.analysis.page import html_page, html_table
from airbench.analysis.summary import arithmetic_lines, summarize_run, summary_rows
from airbench.analysis.verify import verify
from airbench.errors import AirbenchError
from airbench.runs import RunRecord


def write_report(runs: Sequence[RunRecord], form: str, file: Path) -> None:
    """Write a report in ``form`` (html, md, csv, png, pdf or svg) atomically. Raises AirbenchError."""
    refuse_duplicates(runs)
    if form in ("png", "pdf", "svg"):
        from airbench.analysis import figures  # loads matplotlib

        content = figures.overview([(evaluated_on(g[0]), g, labels(g)) for g in same_images(runs)], form)
    else:
        text = {"html": html_report, "md": markdown_report, "csv": csv_report}[form](runs)
        content = text.encode("utf-8")
    temporary = file.parent / f"{file.name}.part"
    try:
        temporary.write_bytes(content)
        os.replace(temporary, file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise AirbenchError(f"{file}: cannot be written ({error.strerror}); choose another place with --out") from None


def evaluated_on(run: RunRecord) -> str:
    """Name of the data set that a run was evaluated on, and of its held-out images if it used some."""
    name = run.text("data", "name") or "unknown images"
    held_out = run.number("data", "held_out")
    return f"{name}, {held_out:,.0f} held-out training images" if held_out else name


def best_first(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Sort runs that reach their target by median time, those without one last; then the others by accuracy."""

    def key(run: RunRecord) -> tuple[bool, float]:
        s = summarize_run(run)
        median = s["seconds"]["median"] if s["seconds"] else math.inf
        return (not s["target_reached"], median if s["target_reached"] else -s["accuracy"]["mean"])

    return sorted(runs, key=key)


# ------------------------------------------------------------------------------------------- md and csv

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


def markdown_report(runs: Sequence[RunRecord]) -> str:
    """Leaderboard table, followed by the comparisons."""
    lines: list[str] = []
    for group in same_images(runs):
        ordered = best_first(group)
        header, *rows = summary_rows(ordered)
        lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        lines += [
            "| " + " | ".join((name, *row[1:])) + " |" for name, row in zip(labels(ordered), rows, strict=True)
        ] + [""]
        lines += [line for note in time_notes(ordered, labels(ordered)) for line in (note, "")]
        if len(group) > 1:
            lines += ["```", *_comparisons(ordered), "```", ""]
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------- html


def html_report(runs: Sequence[RunRecord]) -> str:
    """The report as one HTML page without external resources."""
    from airbench.analysis import figures

    trials = sum(len(run.finished) for run in runs)
    parts = [
        f"<h1>airbench report</h1><p>{len(runs)} runs, {trials} trials. Accuracy is with the recipe's "
        "test-time augmentation, on the test images unless stated otherwise; seconds are timed seconds.</p>"
    ]
    for group in same_images(runs):
        ordered, names = best_first(group), labels(best_first(group))
        on = f" on {evaluated_on(group[0])}"
        pictures = [
            figures.accuracy_strip(ordered, names),
            *_against_time(ordered, names),
            *(figures.spectra(run, name) for run, name in zip(ordered, names, strict=True)),
        ]
        parts.append(f"<h2>Leaderboard{escape(on)}</h2>" + _leaderboard(ordered, names))
        parts += [f"<p>{escape(note)}</p>" for note in time_notes(ordered, names)]
        parts += [_figure(picture) for picture in pictures if picture]
        if len(group) > 1:
            text = "\n".join([*warnings(ordered), *_comparisons(ordered)])
            parts.append(f"<h2>Comparisons{escape(on)}</h2><pre>{escape(text)}</pre>")
    parts.append("<h2>Provenance</h2>")
    ordered = best_first(runs)
    parts += [_provenance(run, name) for run, name in zip(ordered, labels(ordered), strict=True)]
    return html_page("airbench report", "\n".join(parts))


def _against_time(runs: Sequence[RunRecord], names: Sequence[str]) -> "list[figures.Picture]":  # type: ignore[name-defined]  # noqa: F821 - imported late
    """Draw accuracy against time, of the runs whose seconds are a record of time."""
    from airbench.analysis import figures

    timed = [(run, name) for run, name in zip(runs, names, strict=True) if not why_no_time(run)]
    if not timed:
        return []
    timed_runs, timed_names = zip(*timed, strict=True)
    return [draw(timed_runs, timed_names) for draw in (figures.accuracy_against_time, figures.training_curves)]


def _comparisons(runs: Sequence[RunRecord]) -> list[str]:
    return [line for comparison in compare_runs(runs) for line in comparison_lines(comparison)]


def _leaderboard(runs: Sequence[RunRecord], names: Sequence[str]) -> str:
    header, *rows = summary_rows(runs)
    lines: list[Sequence[str | tuple[str, str]]] = [(*header, "record")]
    for run, name, row in zip(runs, names, rows, strict=True):
        record = run.target is not None and verify(run, run.target).is_record
        lines.append((name, *row[1:], ("yes", "good") if record else ("no", "bad")))
    return html_table(lines)


def _figure(picture: "figures.Picture") -> str:  # type: ignore[name-defined]  # noqa: F821 - imported late
    svg = picture.svg.replace("<svg", f'<svg role="img" aria-label="{escape(picture.alternative)}"', 1)
    caption = f"<figcaption>{escape(picture.alternative)}</figcaption>"
    return f'<h2>{escape(picture.title)}</h2><figure><div class="wide">{svg}</div>{caption}</figure>'


def _provenance(run: RunRecord, name: str) -> str:
    packages = run.fact("environment", "packages")
    versions = [f"{k} {v}" for k, v in packages.items()] if isinstance(packages, dict) else []
    commit = run.text("source", "git_commit") or "not under git"
    facts = {
        "folder": run.path.name,
        "started": run.text("started"),
        "reproduce with": reproduce_command(run),
        "hardware": f"{run.text('environment', 'device')}, {run.text('environment', 'precision')}",
        "software": ", ".join([f"Python {run.text('environment', 'python')}", *versions]),
        "source": commit if run.fact("source", "committed") is True else f"{commit}, with uncommitted changes",
        "data": f"{run.text('data', 'source')}, genuine CIFAR-10: {run.text('data', 'genuine')}",
        "arithmetic": "".join(arithmetic_lines([run])) or "not recorded",
        "copy bandwidth": f"{run.text('peak', 'copy_gbs')} GB/s" if run.text("peak", "copy_gbs") else "not recorded",
        "problems": "; ".join(run.problems) or "none",
    }
    if run.target is not None:
        facts["verdict"] = verify(run, run.target).line
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    recipe = yaml.safe_dump(run.recipe, sort_keys=False, default_flow_style=None, width=100)
    recipe = f"<details><summary>recipe.yaml</summary><pre>{escape(recipe)}</pre></details>"
    return f"<details open><summary>{escape(name)}</summary><dl>{rows}</dl>{recipe}</details>"


def reproduce_command(run: RunRecord) -> str:
    """Command that repeats a run's trials, at its commit, with the recipe that the page shows."""
    commit = run.text("source", "git_commit")
    checkout = f"git checkout {commit} && " if commit else ""
    return f"{checkout}python train.py recipe.yaml --trials {run.planned} --seed {run.text('seed')}"
