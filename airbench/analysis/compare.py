"""Pairwise comparison of runs: differences with intervals, and the number of trials needed to detect one."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from airbench.analysis.experiments import engine_differences, refuse_duplicates, same_experiment
from airbench.analysis.labels import labels
from airbench.analysis.machines import NO_TIME, time_notes, why_no_time
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
from airbench.errors import AirbenchError
from airbench.runs import RunRecord
from airbench.text import counted

SMALL = 0.001
"""Difference in accuracy that sample sizes are planned for: 0.1%."""


STREAMS = {"init": "initialisation", "order": "order of the images", "augment": "augmentation"}
"""What the seed of each stream decides."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of run a with run b. Differences are a - b.

    Verdict, interval and p-value of the accuracies come from one procedure: a t-test with Bonferroni's correction for
    the number of comparisons. A difference is claimed if and only if the interval excludes 0, that is, if p < 0.05.
    """

    a: RunRecord
    b: RunRecord
    names: tuple[str, str]
    """Display names of a and b."""
    method: str
    """Name of the test applied to the accuracies."""
    accuracy: Difference
    log_seconds: Difference
    """Difference of the mean log seconds (Welch's t-test); its exponential is the ratio of geometric mean times."""
    needed: int | None
    """Trials per recipe needed to detect a difference of 0.1% with 80% power at the corrected level; None if no test
    is possible."""
    no_test: str
    """Why the accuracies cannot be tested, and what to do about it; empty if they can."""
    pairs: int | None = None
    """Number of pairs that the paired test is over; None if trials are not paired."""

    @property
    def times(self) -> float | None:
        """How many times as long a takes as b: the ratio of geometric means; None if seconds are no record of time."""
        if why_no_time(self.a) or why_no_time(self.b):
            return None
        return math.exp(self.log_seconds.difference)

    @property
    def verdict(self) -> str:
        """The conclusion in one line, with what restricts it: seeds held fixed, trials that failed."""
        return self._conclusion + self._for_fixed_seeds + self._without_failures

    @property
    def _for_fixed_seeds(self) -> str:
        fixed = [s for s in STREAMS if any(run.setting("seeds", s) is not None for run in (self.a, self.b))]
        if self.no_test or not fixed:
            return ""
        kinds = " and ".join(STREAMS[stream] for stream in fixed)
        return f"; this holds for one {kinds} only ({', '.join(f'seeds.{s}' for s in fixed)} held fixed)"

    @property
    def _without_failures(self) -> str:
        counts = [
            f"{len(run.failed)} of {len(run.trials)} trials of {name}"
            for run, name in zip((self.a, self.b), self.names, strict=True)
            if run.failed
        ]
        return f"; not counting failures: {' and '.join(counts)}" if counts else ""

    @property
    def _conclusion(self) -> str:
        if self.no_test:
            return f"no test is possible: {self.no_test}"
        low, high = self.accuracy.low, self.accuracy.high
        if self.accuracy.p < ALPHA:
            better, worse = self.names if self.accuracy.difference > 0 else self.names[::-1]
            by = f"{abs(self.accuracy.difference):.3%} (p = {self.accuracy.p:.2g})"
            return f"{better} is more accurate than {worse} by {by}"
        bound = max(abs(low), abs(high))
        if bound <= SMALL:
            return f"inconclusive: any difference is at most {bound:.3%}"
        n = min(len(self.a.finished), len(self.b.finished)) if self.pairs is None else self.pairs
        if self.needed is not None and self.needed > n:
            return f"inconclusive: about n = {self.needed} would be needed to detect a difference of {SMALL:.1%}"
        return f"inconclusive: the difference may be up to {bound:.3%}; more trials would narrow the interval"


@dataclass(frozen=True)
class _Samples:
    """Accuracies of two runs under comparison. If ``paired``, they are aligned by seed."""

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
    """Why the accuracies of two runs cannot be tested, and what to do about it; empty if they can."""
    for run, name in zip((a, b), names, strict=True):
        if len(run.finished) < 2:
            return f"{name} has a single trial; train at least two per recipe"
    for run, name in zip((a, b), names, strict=True):
        if all_seeds_fixed(run):
            return (
                f"all seeds of {name} are held fixed, so its trials are copies of one another; "
                "leave seeds.init, seeds.order or seeds.augment unset"
            )
    if samples.paired and len(samples.a) < 2:
        return "the runs share fewer than two seeds; compare them without --paired"
    if samples.testable:
        return ""
    if {*samples.a, *samples.b} == {1.0}:
        return "every trial of both reached 100%, which leaves no room for a difference; train for fewer epochs"
    if samples.paired:
        return f"every pair differs by exactly {samples.differences[0]:+.2%}, so there is no spread; train more trials"
    return (
        f"the trials show no spread ({names[0]}: always {samples.a[0]:.2%}, {names[1]}: always {samples.b[0]:.2%}); "
        "train more trials"
    )


def all_seeds_fixed(run: RunRecord) -> bool:
    """Whether a run's trials are copies of one another."""
    return all(run.setting("seeds", stream) is not None for stream in STREAMS)


def compare_runs(
    runs: Sequence[RunRecord], *, by_seed: bool = False, names: Sequence[str] | None = None
) -> list[Comparison]:
    """Compare every pair of ``runs`` by Welch's t-test, or by the paired t-test over common seeds if ``by_seed``.

    ``names`` are those to show, if not their labels among these runs.
    Choose the test before looking at the results: picking the more favourable of two raises the error rate.
    Raises AirbenchError for fewer than two runs, a run named twice, a run without finished trials, and runs on
    different test images.
    """
    if len(runs) < 2:
        raise AirbenchError("name at least two runs to compare")
    refuse_duplicates(runs)
    for run in runs:
        if not run.finished:
            raise AirbenchError(f"{run.path}: no trial finished, so there is nothing to compare")
    if len(same_images(runs)) > 1:
        raise AirbenchError("these runs were evaluated on different images, so their accuracies are not comparable")
    pairs = list(itertools.combinations(runs, 2))
    named = itertools.combinations(names or labels(runs), 2)
    return [_compare(a, b, name, by_seed, len(pairs)) for (a, b), name in zip(pairs, named, strict=True)]


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
        len(samples.a) if by_seed else None,
    )


def same_images(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Group runs by the images they were evaluated on: only runs of one group are comparable."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.text("data", "test_fingerprint"), []).append(run)
    return list(groups.values())


def comparable_with_first(runs: Sequence[RunRecord]) -> bool:
    """Return whether there are several runs, on the same images, and the first has an accuracy."""
    return len(runs) > 1 and len(same_images(runs)) == 1 and bool(runs[0].finished)


def lines_against_first(runs: Sequence[RunRecord]) -> list[str]:
    """Format the difference in accuracy of each run from the first: a heading, then one line per run.

    Intervals are those of Welch's t-test with Bonferroni's correction for the number of comparisons: jointly, they
    hold with 95% confidence. Empty if there is nothing to compare.
    """
    if not comparable_with_first(runs):
        return []
    first, names = runs[0], labels(runs)
    found = [
        _compare(run, first, (name, names[0]), False, len(runs) - 1).accuracy if run.finished else None
        for run, name in zip(runs[1:], names[1:], strict=True)
    ]
    heading = f"difference from {names[0]}"
    if any(each and not math.isnan(each.low) for each in found):
        heading += " (95% intervals jointly)" if len(runs) > 2 else " (95% interval)"
    width = max(map(len, names[1:]))
    shown = ["-" if each is None else difference_text(each) for each in found]
    return [f"{heading}:", *(f"  {name:<{width}}  {text}" for name, text in zip(names[1:], shown, strict=True))]


def difference_text(found: Difference) -> str:
    """Return a difference in accuracy with its interval, if it has one."""
    interval = "" if math.isnan(found.low) else f" ({found.low:+.2%} to {found.high:+.2%})"
    return f"{found.difference:+.2%}{interval}"


def warnings(runs: Sequence[RunRecord], names: Sequence[str] | None = None) -> list[str]:
    """Return warnings on what makes runs hard to compare: other hardware or code, failed or missing trials, damage."""
    lines = []
    for label, values in (
        ("hardware", {run.machine("device") for run in runs}),
        ("precision", {run.machine("precision") for run in runs}),
        ("code", {run.text("source", "sha256") for run in runs}),
    ):
        if len(values) > 1:
            shown = " / ".join(sorted(v[: 7 if label == "code" else 40] for v in values))
            lines.append(f"warning: the runs differ in {label}: {shown}")
    names = names or labels(runs)
    lines += [f"warning: {note}" for note in time_notes(runs, names)]
    for run, name in zip(runs, names, strict=True):
        if run.failed or run.missing:
            lines.append(f"warning: {name}: {counted(len(run.failed), 'trial')} failed, {len(run.missing)} missing")
        if run.problems:
            lines.append(f"warning: {name}: the run folder is damaged: {'; '.join(run.problems)}")
    return lines


def _accuracies(run: RunRecord) -> list[float]:
    return [t.accuracy for t in run.finished]


def _seconds(run: RunRecord) -> list[float]:
    return [t.seconds for t in run.finished]


def comparison_lines(comparison: Comparison) -> list[str]:
    """Format a comparison as lines of text."""
    c = comparison
    interval = " (no interval)" if c.no_test else f" ({c.accuracy.low:+.3%} to {c.accuracy.high:+.3%})"
    tested = "" if c.no_test else f"; {c.method}"
    return [
        _heading(c),
        *(f"  {line}" for line in engine_lines(c)),
        f"  accuracy  {c.accuracy.difference:+.3%}{interval}{_p(c.accuracy.p)}{tested}",
        f"  time      {time_text(c)}",
        f"  {c.verdict}",
    ]


def _heading(c: Comparison) -> str:
    first, second = (
        f"{name} (n = {len(run.finished)}{f', {len(run.failed)} failed' if run.failed else ''})"
        for run, name in zip((c.a, c.b), c.names, strict=True)
    )
    paired_over = "" if c.pairs is None else f", {c.pairs} pair{'' if c.pairs == 1 else 's'} of them"
    return f"{first} against {second}{paired_over}"


def time_text(comparison: Comparison) -> str:
    """Return the ratio of times in words, or why there is none."""
    a, b, ratio = comparison.a, comparison.b, comparison.log_seconds
    if comparison.times is None:
        without = [name for run, name in zip((a, b), comparison.names, strict=True) if why_no_time(run)]
        return f"not compared: the seconds of {' and '.join(without)} are {NO_TIME}"
    times = "" if math.isnan(ratio.low) else f" ({math.exp(ratio.low):.3f} to {math.exp(ratio.high):.3f})"
    medians = " and ".join(f"{statistics.median(_seconds(run)):.2f} s" for run in (a, b))
    return f"{comparison.times:.3f} times as long{times}{_p(ratio.p)}; medians {medians}"


def engine_lines(comparison: Comparison) -> list[str]:
    """Return a line if two runs of one recipe differ in their engines; else none."""
    a, b = comparison.a, comparison.b
    differences = engine_differences([a, b]) if same_experiment(a, b) else []
    return [f"same recipe on different engines: {'; '.join(differences)}"] if differences else []


def _p(p: float) -> str:
    return "" if math.isnan(p) else f", p = {p:.2g}"
