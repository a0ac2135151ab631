"""Summary statistics of one run, and tables of several."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airbench.analysis.labels import labels
from airbench.analysis.machines import NO_TIME, time_notes, why_no_time
from airbench.analysis.statistics import Summary, reaches, summarize
from airbench.runs import RunRecord


def summarize_run(run: RunRecord) -> dict[str, Any]:
    """Contents of ``summary.json``: accuracy and time over finished trials, failures, whether the target was reached.

    The target counts as reached if the mean reaches it and no trial failed. This does not make a record: see verify.
    Seconds are None, and ``why_no_time`` says why, if trials were trained on unlike machines, or at the same time.
    """
    done = run.finished
    accuracy = summarize([t.accuracy for t in done]) if done else None
    no_time = why_no_time(run)
    found = {
        "trials": len(run.trials),
        "finished": len(done),
        "failed": len(run.failed),
        "missing": len(run.missing),
        "target": run.target,
        "target_reached": bool(accuracy and run.target and reaches(accuracy.mean, run.target) and not run.failed),
        "accuracy": _plain(accuracy),
        "plain_accuracy": _plain(summarize([t.plain_accuracy for t in done]) if done else None),
        "seconds": _plain(summarize([t.seconds for t in done]) if done and not no_time else None),
        "arithmetic": arithmetic(run),
    }
    return {**found, "why_no_time": no_time} if no_time else found


def arithmetic(run: RunRecord) -> dict[str, float] | None:
    """PFLOP per trial, training images and TFLOP per second (including evaluation), and share of the measured peak.

    None if no trial finished, the run recorded no FLOP count, or its seconds are no record of time.
    """
    flop, steps = run.number("flop", "trial"), run.number("steps")
    batch = run.setting("train", "batch_size")
    if not run.finished or not flop or not steps or type(batch) is not int or not 0 < batch < 2**31:
        return None
    if why_no_time(run):
        return None
    seconds = statistics.median(t.seconds for t in run.finished)
    found = {"pflop": flop / 1e15, "images_per_second": steps * batch / seconds, "tflops": flop / seconds / 1e12}
    peak = run.number("peak", f"{run.text('environment', 'precision')}_tflops")
    if peak and run.machine("device") == run.text("environment", "device"):  # else it is another machine's
        found["share_of_peak"] = found["tflops"] / peak
    return found


def arithmetic_lines(runs: Sequence[RunRecord]) -> list[str]:
    """Format the arithmetic of each run that recorded it, one line per run; say whose seconds are no record of time."""
    names = labels(runs)
    lines = time_notes(runs, names)
    for run, name in zip(runs, names, strict=True):
        a = arithmetic(run)
        if a:
            share = f", {a['share_of_peak']:.0%} of this machine's peak" if "share_of_peak" in a else ""
            if a.get("share_of_peak", 0) > 1 and run.machine("device_type") == "cpu":
                share += " (FLOP are counted by the definition of convolution, which Winograd's method undercuts)"
            lines.append(
                f"{name}: {a['pflop']:.3g} PFLOP per trial, {a['images_per_second']:,.0f} training images/s, "
                f"{a['tflops']:.3g} TFLOP/s{share}"
            )
    return lines


def _plain(summary: Summary | None) -> dict[str, Any] | None:
    """As a dictionary with None for NaN, which JSON lacks."""
    if summary is None:
        return None
    return {key: None if value != value else value for key, value in asdict(summary).items()}


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows as lines with aligned columns; the first row is the header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def summary_rows(runs: Sequence[RunRecord]) -> list[tuple[str, ...]]:
    """A header and one row per run: its label, n, accuracy, interval, plain accuracy, time, target."""
    rows: list[tuple[str, ...]] = [("recipe", "n", "accuracy (TTA)", "95% interval", "plain", "seconds", "target")]
    for run, name in zip(runs, labels(runs), strict=True):
        s = summarize_run(run)
        n = str(s["finished"]) + _failures(run)
        if not s["finished"]:
            rows.append((name, n, "-", "-", "-", "-", "missed"))
            continue
        accuracy, plain, seconds = s["accuracy"], s["plain_accuracy"], s["seconds"]
        target = "-"
        if s["target"] is not None:
            target = f"{s['target'] * 100:.6g}% {'reached' if s['target_reached'] else 'missed'}"
        rows.append(
            (
                name,
                n,
                f"{accuracy['mean']:.2%}" + ("" if accuracy["std"] is None else f" ± {accuracy['std']:.2%}"),
                "-" if accuracy["low"] is None else f"{accuracy['low']:.2%} to {accuracy['high']:.2%}",
                f"{plain['mean']:.2%}",
                NO_TIME if seconds is None else f"{seconds['median']:.2f}",
                target,
            )
        )
    return rows


def _failures(run: RunRecord) -> str:
    return f", {len(run.failed)} failed" if run.failed else ""


def listing_rows(runs: Sequence[RunRecord]) -> list[tuple[str, ...]]:
    """A header and one row per run for ``airbench runs``, which marks damaged ones.

    The folder comes last, since it may be long; the recipe is named beside it only where its name does not end with it.
    """
    rows: list[tuple[str, ...]] = [("n", "accuracy (TTA)", "seconds", "device", "target", "run")]
    for run in runs:
        name, n, accuracy, _, _, seconds, target = summary_rows([run])[1]
        if run.missing:
            n = f"{len(run.finished)} of {run.planned}{_failures(run)}"
        device = f"{run.machine('device') or '?'}, {run.machine('precision') or '?'}"
        state = f"damaged: {run.problems[0]}" if run.problems else target
        folder = str(run.path) if run.path.name.endswith(name) else f"{run.path} ({name})"
        rows.append((n, accuracy, seconds, device, state, folder))
    return rows
