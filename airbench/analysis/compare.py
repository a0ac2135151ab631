"""Is one recipe better than another? Differences with intervals, and what it would take to know."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from airbench.analysis.experiments import engine_differences, refuse_duplicates, same_experiment
from airbench.analysis.statistics import (
    ALPHA,
    Difference,
    has_spread,
    paired,
    pooled_std,
    trials_needed,
    untested,
    welch,
)
from airbench.analysis.summary import labels
from airbench.errors import AirbenchError
from airbench.runs import RunRecord

SMALL = 0.001
"""The difference in accuracy that planning is done for: 0.1%."""


@dataclass(frozen=True)
class Comparison:
    """Of two runs, a against b. Differences are a - b.

    The verdict, the interval and the p-value of the accuracies are one procedure: a t-test, corrected by Bonferroni
    for the number of comparisons. A difference is claimed where the interval excludes 0, which is where p < 0.05.
    """

    a: RunRecord
    b: RunRecord
    names: tuple[str, str]
    """What to call a and b: the recipe, or the folder where both have the same."""
    method: str
    """The test of the accuracies."""
    accuracy: Difference
    log_seconds: Difference
    """Of the logarithms of the timed seconds, by Welch's t-test: e to it is the ratio of the typical times."""
    needed: int | None
    """Trials of each to see a difference of 0.1% with a chance of 80%, at the level that the number of
    comparisons leaves; None where there is no test."""
    no_test: str
    """Why there is no test of the accuracies, and what to do about it; empty where there is one."""

    @property
    def verdict(self) -> str:
        """One line: who is better, or that it can't be told, and why."""
        if self.no_test:
            return f"no test is possible: {self.no_test}"
        low, high = self.accuracy.low, self.accuracy.high
        if self.accuracy.p < ALPHA:
            better, worse = self.names if self.accuracy.difference > 0 else self.names[::-1]
            by = f"{abs(self.accuracy.difference):.3%} (p = {self.accuracy.p:.2g})"
            return f"{better} is more accurate than {worse} by {by}"
        bound = max(abs(low), abs(high))
        if bound <= SMALL:
            return f"can't tell them apart; a difference, if there is one, is at most {bound:.3%}"
        if self.needed is not None and self.needed > min(len(self.a.finished), len(self.b.finished)):
            return f"can't tell; n = {self.needed} would be needed to see a difference of {SMALL:.1%}"
        return f"can't tell; the difference may be up to {bound:.3%}, and more trials would narrow that down"


@dataclass(frozen=True)
class _Samples:
    """The accuracies of two runs that are compared; ``paired`` ones are of the same seeds, in the same order."""

    a: list[float]
    b: list[float]
    paired: bool

    @property
    def differences(self) -> list[float]:
        return [x - y for x, y in zip(self.a, self.b, strict=True)]

    @property
    def testable(self) -> bool:
        if self.paired:
            return has_spread(self.differences)
        return min(len(self.a), len(self.b)) > 1 and (has_spread(self.a) or has_spread(self.b))

    def test(self, comparisons: int) -> Difference:
        return paired(self.a, self.b, comparisons) if self.paired else welch(self.a, self.b, comparisons)

    def needed(self, comparisons: int) -> int:
        std, _ = pooled_std([self.differences] if self.paired else [self.a, self.b])
        return trials_needed(SMALL, std, alpha=ALPHA / comparisons, paired=self.paired)


def _samples(a: RunRecord, b: RunRecord, by_seed: bool) -> _Samples:
    if not by_seed:
        return _Samples(_accuracies(a), _accuracies(b), False)
    first, second = ({t.seed: t.accuracy for t in run.finished} for run in (a, b))
    common = sorted(set(first) & set(second))
    return _Samples([first[seed] for seed in common], [second[seed] for seed in common], True)


def _reason_for_no_test(a: RunRecord, b: RunRecord, names: tuple[str, str], samples: _Samples) -> str:
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
    if samples.paired and len(samples.a) < 2:
        return "fewer than two seeds are common to both; compare without pairing"
    if samples.testable:
        return ""
    if {*samples.a, *samples.b} == {1.0}:
        return "every trial of both reached 100%, so there is no room to differ; train for fewer epochs"
    if samples.paired:
        return f"every pair differs by the same {samples.differences[0]:+.2%}, which is no spread; train more of each"
    return (
        f"the trials show no spread ({names[0]}: {samples.a[0]:.2%} each time, {names[1]}: {samples.b[0]:.2%}); "
        "train more of each"
    )


def _all_seeds_fixed(run: RunRecord) -> bool:
    return all(run.knob("seeds", stream) is not None for stream in ("init", "order", "augment"))


def compare_runs(runs: Sequence[RunRecord], *, by_seed: bool = False) -> list[Comparison]:
    """Compare every pair of ``runs``: accuracies by Welch's t-test, or if ``by_seed`` by the paired one.

    Choose before looking at the results: the better-looking of two tests is wrong more often than either.
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
    names = itertools.combinations(labels(runs), 2)
    return [_compare(a, b, name, by_seed, len(pairs)) for (a, b), name in zip(pairs, names, strict=True)]


def _compare(a: RunRecord, b: RunRecord, names: tuple[str, str], by_seed: bool, comparisons: int) -> Comparison:
    samples = _samples(a, b, by_seed)
    no_test = _reason_for_no_test(a, b, names, samples)
    difference = statistics.fmean(_accuracies(a)) - statistics.fmean(_accuracies(b))
    method = f"paired t-test over {len(samples.a)} seeds" if by_seed else "Welch's t-test"
    if comparisons > 1:
        method += f", Bonferroni for {comparisons} comparisons"
    return Comparison(
        a,
        b,
        names,
        method,
        untested(difference) if no_test else samples.test(comparisons),
        welch([math.log(s) for s in _seconds(a)], [math.log(s) for s in _seconds(b)], comparisons),
        None if no_test else samples.needed(comparisons),
        no_test,
    )


def same_images(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """The runs in groups that were tested on the same images, the only ones that can be compared."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.text("data", "test_fingerprint"), []).append(run)
    return list(groups.values())


def against_first(runs: Sequence[RunRecord]) -> list[str]:
    """A column for a table of runs: its header, then each run's difference in accuracy to the first.

    The intervals are those of Welch's t-test, corrected by Bonferroni for the number of runs compared with the first:
    all of them together hold with 95%. Empty where there is nothing to compare.
    """
    if len(runs) < 2 or len(same_images(runs)) > 1 or not runs[0].finished:
        return []
    first, names = runs[0], labels(runs)
    cells = [f"against {names[0]} (95% for all together)", ""]
    for run, name in zip(runs[1:], names[1:], strict=True):
        if not run.finished:
            cells.append("-")
            continue
        accuracy = _compare(run, first, (name, names[0]), False, len(runs) - 1).accuracy
        interval = "" if math.isnan(accuracy.low) else f" ({accuracy.low:+.2%} to {accuracy.high:+.2%})"
        cells.append(f"{accuracy.difference:+.2%}{interval}")
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


def _seconds(run: RunRecord) -> list[float]:
    return [t.seconds for t in run.finished]


def comparison_lines(comparison: Comparison) -> list[str]:
    """A comparison in words."""
    c = comparison
    ratio = c.log_seconds
    times = "" if math.isnan(ratio.low) else f" ({math.exp(ratio.low):.3f} to {math.exp(ratio.high):.3f})"
    interval = " (no interval)" if c.no_test else f" ({c.accuracy.low:+.3%} to {c.accuracy.high:+.3%})"
    tested = "" if c.no_test else f"; {c.method}"
    medians = " and ".join(f"{statistics.median(_seconds(run)):.2f} s" for run in (c.a, c.b))
    return [
        f"{c.names[0]} (n = {len(c.a.finished)}) against {c.names[1]} (n = {len(c.b.finished)})",
        *_engine_line(c),
        f"  accuracy  {c.accuracy.difference:+.3%}{interval}{_p(c.accuracy.p)}{tested}",
        f"  time      {math.exp(ratio.difference):.3f} times as long{times}{_p(ratio.p)}; medians {medians}",
        f"  {c.verdict}",
    ]


def _engine_line(comparison: Comparison) -> list[str]:
    a, b = comparison.a, comparison.b
    differences = engine_differences([a, b]) if same_experiment(a, b) else []
    return [f"  same recipe on different engines: {'; '.join(differences)}"] if differences else []


def _p(p: float) -> str:
    return "" if math.isnan(p) else f", p = {p:.2g}"
