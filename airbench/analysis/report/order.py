"""Runs in the order of a report, and what they were evaluated on."""

import math
from collections.abc import Sequence

from airbench.analysis.summary import summarize_run
from airbench.runs import RunRecord


def count(runs: Sequence[RunRecord]) -> str:
    """Return how many runs there are, and how many finished trials."""
    trials = sum(len(run.finished) for run in runs)
    return f"{len(runs)} run{'s' * (len(runs) != 1)}, {trials} trial{'s' * (trials != 1)}"


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
