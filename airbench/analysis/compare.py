"""Is one recipe better than another? Differences with intervals, and what it would take to know."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from airbench.analysis.experiments import refuse_duplicates
from airbench.analysis.statistics import (
    UNKNOWN,
    Difference,
    has_spread,
    holm,
    paired,
    pooled_std,
    trials_needed,
    welch,
)
from airbench.analysis.summary import labels
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
    same_seeds_p: float
    """Its p-value, by Holm's method."""
    seconds: Difference
    log_seconds: Difference
    """Of the logarithms: e to it is the ratio of the typical times, with an interval."""
    time_ratio: float
    """median(a) / median(b) of the timed seconds."""
    needed: int | None
    """Trials of each to see a difference of 0.1% with a chance of 80%, at the level that the number of
    comparisons leaves; None where the spread is not known."""
    no_test: str
    """Why there is no test of the accuracies, and what to do about it; empty where there is one."""
    names: tuple[str, str]
    """What to call a and b: the recipe, or the folder where both have the same."""

    @property
    def verdict(self) -> str:
        """One line: who is better, or that it can't be told, and why."""
        if self.no_test:
            return f"no test is possible: {self.no_test}"
        if self.p < 0.05:
            better, worse = self.names if self.accuracy.difference > 0 else self.names[::-1]
            return f"{better} is more accurate than {worse} by {abs(self.accuracy.difference):.3%} (p = {self.p:.2g})"
        bound = max(abs(self.accuracy.low), abs(self.accuracy.high))
        if bound <= SMALL:
            return f"can't tell them apart; a difference, if there is one, is at most {bound:.3%}"
        if self.needed is not None and self.needed > min(len(self.a.finished), len(self.b.finished)):
            return f"can't tell; n = {self.needed} would be needed to see a difference of {SMALL:.1%}"
        return f"can't tell; the difference may be up to {bound:.3%}, and more trials would narrow that down"


def reason_for_no_test(a: RunRecord, b: RunRecord, names: tuple[str, str]) -> str:
    """Why no test can tell the accuracies of two runs apart, and what to do about it; empty where one can."""
    for run, name in zip((a, b), names, strict=True):
        if len(run.finished) < 2:
            return f"{name} has a single trial; train two or more of each"
    for run, name in zip((a, b), names, strict=True):
        if _all_seeds_fixed(run):
            return (
                f"all seeds of {name} are held fixed, so its trials repeat one another and show no spread; "
                "train with seeds.init, seeds.order or seeds.augment left to vary"
            )
    if has_spread(_accuracies(a)) or has_spread(_accuracies(b)):
        return ""
    reached = [_accuracies(run)[0] for run in (a, b)]
    if reached == [1, 1]:
        return "every trial of both reached 100%, so there is no room to differ; train for fewer epochs"
    return (
        f"the trials show no spread ({names[0]}: {reached[0]:.2%} each time, {names[1]}: {reached[1]:.2%}); "
        "train more of each"
    )


def _all_seeds_fixed(run: RunRecord) -> bool:
    return all(run.knob("seeds", stream) is not None for stream in ("init", "order", "augment"))


def compare_runs(runs: Sequence[RunRecord], alpha: float = 0.05) -> list[Comparison]:
    """Every pair of ``runs``.

    Raises AirbenchError for fewer than two, for one that is named twice, for one in which no trial finished, and for
    runs on different test images.
    """
    if len(runs) < 2:
        raise AirbenchError("name two runs or more to compare")
    refuse_duplicates(runs)
    for run in runs:
        if not run.finished:
            raise AirbenchError(f"{run.path}: no trial finished, so there is nothing to compare")
    if len(same_images(runs)) > 1:
        raise AirbenchError("these runs were tested on different images, so their accuracies cannot be compared")
    pairs = list(itertools.combinations(runs, 2))
    names = list(itertools.combinations(labels(runs), 2))
    no_test = [reason_for_no_test(a, b, pair) for (a, b), pair in zip(pairs, names, strict=True)]
    confidence = 1 - alpha / len(pairs)
    accuracy = [
        _no_interval(a, b) if reason else welch(_accuracies(a), _accuracies(b), confidence)
        for (a, b), reason in zip(pairs, no_test, strict=True)
    ]
    adjusted = holm([difference.p for difference in accuracy])
    by_seed = [
        UNKNOWN if reason else _same_seeds(a, b, confidence) for (a, b), reason in zip(pairs, no_test, strict=True)
    ]
    by_seed_adjusted = holm([difference.p for difference in by_seed])
    return [
        Comparison(
            a, b, accuracy[i], adjusted[i], by_seed[i], by_seed_adjusted[i],
            welch(_seconds(a), _seconds(b), confidence),
            welch([math.log(s) for s in _seconds(a)], [math.log(s) for s in _seconds(b)], confidence),
            statistics.median(_seconds(a)) / statistics.median(_seconds(b)),
            None if no_test[i] else _needed(a, b, alpha / len(pairs)),
            no_test[i],
            names[i],
        )
        for i, (a, b) in enumerate(pairs)
    ]  # fmt: skip


def same_images(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """The runs in groups that were tested on the same images, the only ones that can be compared."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.text("data", "test_fingerprint"), []).append(run)
    return list(groups.values())


def against_first(runs: Sequence[RunRecord]) -> list[str]:
    """A column for a table of runs: its header, then each run's difference in accuracy to the first.

    Welch's intervals, widened for the number of comparisons (Bonferroni). Empty where there is nothing to compare.
    """
    if len(runs) < 2 or len(same_images(runs)) > 1 or not runs[0].finished:
        return []
    first, confidence = _accuracies(runs[0]), 1 - 0.05 / (len(runs) - 1)
    cells = [f"against {labels(runs)[0]} (95% for all together)", ""]
    for run in runs[1:]:
        if not run.finished:
            cells.append("-")
            continue
        difference = welch(_accuracies(run), first, confidence)
        interval = "" if math.isnan(difference.low) else f" ({difference.low:+.2%} to {difference.high:+.2%})"
        cells.append(f"{difference.difference:+.2%}{interval}")
    return cells


def warnings(runs: Sequence[RunRecord]) -> list[str]:
    """What makes the runs hard to compare: other hardware or code, failed or missing trials."""
    lines = []
    for label, path in (
        ("hardware", ("environment", "device")), ("precision", ("environment", "precision")),
        ("code", ("source", "sha256")),
    ):  # fmt: skip
        values = {run.text(*path) for run in runs}
        if len(values) > 1:
            shown = " / ".join(sorted(v[:40] for v in values))
            lines.append(f"warning: the runs differ in {label}: {shown}")
    for run in runs:
        if run.failed or run.missing:
            lines.append(f"warning: {run.name}: {len(run.failed)} trials failed, {len(run.missing)} are missing")
    return lines


def _accuracies(run: RunRecord) -> list[float]:
    return [t.accuracy for t in run.finished]


def _no_interval(a: RunRecord, b: RunRecord) -> Difference:
    difference = statistics.fmean(_accuracies(a)) - statistics.fmean(_accuracies(b))
    return Difference(difference, math.nan, math.nan, math.nan)


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
    lines = [f"{c.names[0]} (n = {len(c.a.finished)}) against {c.names[1]} (n = {len(c.b.finished)})"]
    lines.append(f"  accuracy  {accuracy.difference:+.3%}{_interval(accuracy, '{:+.3%}')}{_p(c.p)}")
    if not math.isnan(c.same_seeds.low):
        s = c.same_seeds
        lines.append(f"  paired    {s.difference:+.3%}{_interval(s, '{:+.3%}')}{_p(c.same_seeds_p)}, by seed")
    lines.append(f"  seconds   {seconds.difference:+.2f}{_interval(seconds, '{:+.2f}')}{_p(seconds.p)}")
    ratio = f"  medians   {c.time_ratio:.3f} times as long"
    if not math.isnan(c.log_seconds.low):
        ratio += f" ({math.exp(c.log_seconds.low):.3f} to {math.exp(c.log_seconds.high):.3f})"
    lines.append(ratio)
    lines.append(f"  {c.verdict}")
    return lines


def _interval(difference: Difference, form: str) -> str:
    if math.isnan(difference.low):
        return " (no interval)"
    return f" ({form.format(difference.low)} to {form.format(difference.high)})"


def _p(p: float) -> str:
    return "" if math.isnan(p) else f", p = {p:.2g}"
