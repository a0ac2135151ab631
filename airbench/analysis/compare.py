"""Is one recipe better than another? Differences with intervals, and what it would take to know."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from airbench.analysis.statistics import (
    UNKNOWN,
    Difference,
    bootstrap_median_ratio,
    holm,
    paired,
    pooled_std,
    trials_needed,
    welch,
)
from airbench.errors import AirbenchError
from airbench.runs import RunRecord

SMALL = 0.001
"""The difference in accuracy that planning is done for: 0.1%."""


@dataclass(frozen=True)
class Comparison:
    """Of two runs, a against b. Differences are a - b; ``p`` is corrected for the number of comparisons."""

    a: RunRecord
    b: RunRecord
    accuracy: Difference
    """Welch's test; its interval is widened for the number of comparisons (Bonferroni)."""
    p: float
    """Of the difference in accuracy, by Holm's method."""
    same_seeds: Difference
    """The paired test over trials of the same seed; NaN where the seeds are not the same."""
    seconds: Difference
    time_ratio: tuple[float, float, float]
    """median(a) / median(b) of the timed seconds, and its bootstrap interval."""
    needed: int | None
    """Trials of each to see a difference of 0.1% with a chance of 80%; None where the spread is not known."""

    @property
    def verdict(self) -> str:
        """One line: who is better, or that it can't be told."""
        if self.p < 0.05:
            better, worse = (self.a, self.b) if self.accuracy.difference > 0 else (self.b, self.a)
            return (
                f"{better.name} is more accurate than {worse.name} by {abs(self.accuracy.difference):.3%} "
                f"(p = {self.p:.2g})"
            )
        need = "at least two trials of each" if self.needed is None else f"n = {self.needed}"
        return f"can't tell; {need} would be needed to see a difference of {SMALL:.1%}"


def compare_runs(runs: Sequence[RunRecord], alpha: float = 0.05) -> list[Comparison]:
    """Every pair of ``runs``.

    Raises AirbenchError for fewer than two, for a run in which no trial finished, and for other test images.
    """
    if len(runs) < 2:
        raise AirbenchError("name two runs or more to compare")
    for run in runs:
        if not run.finished:
            raise AirbenchError(f"{run.path}: no trial finished, so there is nothing to compare")
    if len({run.fact("data", "test_fingerprint") for run in runs}) > 1:
        raise AirbenchError("these runs were tested on different images, so their accuracies cannot be compared")
    pairs = list(itertools.combinations(runs, 2))
    confidence = 1 - alpha / len(pairs)
    accuracy = [welch(_accuracies(a), _accuracies(b), confidence) for a, b in pairs]
    adjusted = holm([difference.p for difference in accuracy])
    return [
        Comparison(
            a, b, difference, p, _same_seeds(a, b, confidence),
            welch(_seconds(a), _seconds(b), confidence),
            bootstrap_median_ratio(_seconds(a), _seconds(b)), _needed(a, b, alpha),
        )
        for (a, b), difference, p in zip(pairs, accuracy, adjusted, strict=True)
    ]  # fmt: skip


def warnings(runs: Sequence[RunRecord]) -> list[str]:
    """What makes the runs hard to compare: other hardware or code, failed or missing trials."""
    lines = []
    for label, path in (
        ("hardware", ("environment", "device")), ("precision", ("environment", "precision")),
        ("code", ("source", "sha256")),
    ):  # fmt: skip
        values = {str(run.fact(*path)) for run in runs}
        if len(values) > 1:
            shown = " / ".join(sorted(v[:40] for v in values))
            lines.append(f"warning: the runs differ in {label}: {shown}")
    for run in runs:
        if run.failed or run.missing:
            lines.append(f"warning: {run.name}: {len(run.failed)} trials failed, {len(run.missing)} are missing")
    return lines


def _accuracies(run: RunRecord) -> list[float]:
    return [t.accuracy for t in run.finished]


def _seconds(run: RunRecord) -> list[float]:
    return [t.seconds for t in run.finished]


def _same_seeds(a: RunRecord, b: RunRecord, confidence: float) -> Difference:
    one, other = ({t.seed: t.accuracy for t in run.finished} for run in (a, b))
    if set(one) != set(other) or len(one) < 2:
        return UNKNOWN
    seeds = sorted(one)
    return paired([one[s] for s in seeds], [other[s] for s in seeds], confidence)


def _needed(a: RunRecord, b: RunRecord, alpha: float) -> int | None:
    std, _ = pooled_std([_accuracies(a), _accuracies(b)])
    return None if math.isnan(std) else trials_needed(SMALL, std, alpha=alpha)


def comparison_lines(comparison: Comparison) -> list[str]:
    """A comparison in words."""
    c = comparison
    accuracy, seconds = c.accuracy, c.seconds
    lines = [f"{c.a.name} (n = {len(c.a.finished)}) against {c.b.name} (n = {len(c.b.finished)})"]
    lines.append(f"  accuracy  {accuracy.difference:+.3%}{_interval(accuracy, '{:+.3%}')}{_p(c.p)}")
    if not math.isnan(c.same_seeds.low):
        s = c.same_seeds
        lines.append(f"  paired    {s.difference:+.3%}{_interval(s, '{:+.3%}')}{_p(s.p)}, by seed")
    ratio, low, high = c.time_ratio
    lines.append(f"  seconds   {seconds.difference:+.2f}{_interval(seconds, '{:+.2f}')}{_p(seconds.p)}")
    lines.append(f"  medians   {ratio:.3f} times as long ({low:.3f} to {high:.3f})")
    lines.append(f"  {c.verdict}")
    return lines


def _interval(difference: Difference, form: str) -> str:
    if math.isnan(difference.low):
        return " (no interval: two trials of each at least, that differ)"
    return f" ({form.format(difference.low)} to {form.format(difference.high)})"


def _p(p: float) -> str:
    return "" if math.isnan(p) else f", p = {p:.2g}"
