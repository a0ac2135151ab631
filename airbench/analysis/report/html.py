"""A report as an HTML page."""

from collections.abc import Sequence
from html import escape

import yaml

from airbench.analysis.compare import same_images, warnings
from airbench.analysis.labels import labels
from airbench.analysis.machines import time_notes, why_no_time
from airbench.analysis.page import html_page, html_table
from airbench.analysis.report.order import best_first, evaluated_on
from airbench.analysis.report.tables import comparisons
from airbench.analysis.summary import arithmetic_lines, summary_rows
from airbench.analysis.verify import verify
from airbench.runs import RunRecord


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
            text = "\n".join([*warnings(ordered), *comparisons(ordered)])
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
