"""The page of the checks: what passed, what is slower than it should be, and what to send."""

import json
import statistics
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.analysis.page import html_page, html_table
from airbench.runs import RunRecord, find_runs, read_run

if TYPE_CHECKING:
    from airbench.benchmark.gpu_check.check import Outcome

PUBLISHED = {"airbench94_muon": 2.59, "hiverge": 2.015}
"""Seconds on one 400 W A100, as their authors give them."""


def write_page(
    folder: Path,
    outcomes: Sequence["Outcome"],
    recipes: Sequence[str],
    ways: Sequence[str],
    since: str = "",
    why_not_compiled: str | None = None,
) -> Path:
    """Write ``index.html`` into ``folder`` from what the checks left there; of runs, those begun since then."""
    found = map(read_run, reversed(find_runs(folder / "runs")))  # the newest of a name last
    runs = {run.name: run for run in found if run.text("started") >= since}
    slow = slower_than_expected(runs, recipes, ways)
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    parts = [
        "<h1>GPU check</h1>",
        _paragraph("Everything passed." if not failed else f"Failed: {', '.join(failed)}.", bad=bool(failed)),
        *([_paragraph(f"Nothing is compiled: {why_not_compiled}.")] if why_not_compiled else []),
        "<h2>Slower than expected</h2>",
        *([_paragraph(line, bad=True) for line in slow] or [_paragraph("Nothing.", bad=False)]),
        "<h2>Checks</h2>", html_table(_check_rows(outcomes)),
        "<h2>Trials: median seconds on the clock, mean accuracy</h2>", html_table(_trial_rows(runs, recipes, ways)),
        "<h2>Where a training step's time goes</h2>", _pre(folder / "profile.txt"),
        "<h2>The GPU before and after</h2>", _pre(folder / "gpu-before.txt"), _pre(folder / "gpu-after.txt"),
        "<h2>What to send</h2>",
        _paragraph("The whole folder, packed: it holds this page, the output of every check, and the run folders."),
    ]  # fmt: skip
    page = folder / "index.html"
    page.write_text(html_page("GPU check", "".join(parts)), encoding="utf-8")
    summary = {"failed": failed, "slower_than_expected": slow, "checks": [_plain(outcome) for outcome in outcomes]}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return page


def slower_than_expected(runs: dict[str, RunRecord], recipes: Sequence[str], ways: Sequence[str]) -> list[str]:
    """Return a line for each recipe whose default way (the last of ``ways``) is beaten, or by far from published."""
    lines = []
    for recipe in recipes:
        seconds = {way: _median(runs.get(f"{recipe}-{way}")) for way in ways}
        known = {way: value for way, value in seconds.items() if value is not None}
        default = known.get(ways[-1])
        if default is None:
            continue
        best = min(known, key=lambda way: known[way])
        if known[best] < 0.97 * default:
            lines.append(f"{recipe}: {best} takes {known[best]:.2f} s, the default, {ways[-1]}, {default:.2f} s")
        gpu = runs[f"{recipe}-{ways[-1]}"].machine("device")
        published = PUBLISHED.get(recipe)
        if published and "A100" in gpu and default > 1.1 * published:
            lines.append(f"{recipe}: {default:.2f} s on {gpu}, where its author had {published} s on an A100")
    return lines


def _median(run: RunRecord | None) -> float | None:
    return statistics.median(t.seconds for t in run.finished) if run is not None and run.finished else None


def _check_rows(outcomes: Sequence["Outcome"]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("check", "", "seconds", "output")]
    for outcome in outcomes:
        state = "not there" if outcome.code is None else "ok" if outcome.passed else f"failed ({outcome.code})"
        rows.append((outcome.name, state, f"{outcome.seconds:.0f}", outcome.output.name))
    return rows


def _trial_rows(runs: dict[str, RunRecord], recipes: Sequence[str], ways: Sequence[str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("recipe", *ways)]
    for recipe in recipes:
        cells = []
        for way in ways:
            run = runs.get(f"{recipe}-{way}")
            seconds = _median(run)
            if run is None or seconds is None:
                cells.append("-")
            else:
                accuracy = statistics.fmean(t.accuracy for t in run.finished)
                cells.append(f"{seconds:.3f} s, {accuracy:.2%} (n = {len(run.finished)})")
        rows.append((recipe, *cells))
    return rows


def _plain(outcome: "Outcome") -> dict[str, Any]:
    return {
        "name": outcome.name, "command": list(outcome.command), "code": outcome.code,
        "seconds": round(outcome.seconds, 1), "output": outcome.output.name,
    }  # fmt: skip


def _paragraph(text: str, *, bad: bool | None = None) -> str:
    kind = "" if bad is None else f' class="{"bad" if bad else "good"}"'
    return f"<p{kind}>{escape(text)}</p>"


def _pre(file: Path) -> str:
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else "not there"
    return f"<pre>{escape(text)}</pre>"
