"""The rule for records, and a verdict on a run with its evidence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airbench.analysis.consistency import contradictions
from airbench.analysis.machines import NO_TIME, why_no_time
from airbench.analysis.reruns import Rerun, judge
from airbench.analysis.skewed_t import LEVEL, margin, p_mean_reaches, share_that_may_be_missed, skewness
from airbench.analysis.statistics import Summary, summarize
from airbench.runs import RunRecord
from airbench.runs.record import one_line
from airbench.text import counted

P_VALUE = LEVEL
"""A record's mean reaches the target with a one-sided p-value below this."""
MIN_TRIALS = 8
"""With fewer trials, left-skewed accuracies produce false records more often than P_VALUE: see skewed_t."""

_NO_TIME = f"its seconds are {NO_TIME}"


@dataclass(frozen=True)
class Check:
    """One condition of the rule."""

    passed: bool
    description: str


@dataclass(frozen=True)
class Verdict:
    """Verdict on a run against a target: a record if every check passes."""

    run: RunRecord
    target: float
    checks: tuple[Check, ...]
    accuracy: Summary | None
    p: float
    seconds: Summary | None

    @property
    def is_record(self) -> bool:
        """Whether every check passes."""
        return all(check.passed for check in self.checks)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        if self.accuracy is None or self.seconds is None:
            return f"NO RECORD: {self.run.name}: no trial finished"
        figures = (
            f"{self.run.name}: {self.accuracy.mean:.3%} over n = {self.accuracy.n} against {self.target:.2%} "
            f"({'no p-value' if math.isnan(self.p) else f'one-sided p = {self.p:.2g}'}), "
            + (_NO_TIME if why_no_time(self.run) else f"median {self.seconds.median:.2f} s")
        )
        if self.is_record:
            return f"RECORD: {figures}"
        failed = next(check for check in self.checks if not check.passed)
        return f"NO RECORD: {figures}: {failed.description}"


def verify(run: RunRecord, target: float, reruns: Sequence[Rerun] = ()) -> Verdict:
    """Check a run against the rule for records; ``reruns`` are some of its trials, trained again.

    A record is a run (1) whose folder is intact, its trials chained by hashes and its figures consistent; (2) of at
    least eight trials, a number fixed before the first; (3) with all trials present and none failed, consecutive
    seeds and none held fixed; (4) whose mean accuracy reaches the target with p < 0.01 in a one-sided t-test
    corrected for skewness and for bad trials that may be missing; (5) on all of the genuine
    training data; (6) by committed code; (7) on one machine, or several that are alike, one trial at a time on the
    processors of each, with nothing changed between the first and the last trial.

    At most 1.5% of runs whose true mean is exactly the target pass, whether accuracies are normal, smoothly skewed, or
    now and then bad: up to one trial in ten, up to 7 std lower. No test can detect bad trials that are absent from the
    sample, so the mean must clear the target by a margin, the larger the fewer trials there are. See skewed_t for the
    test, its error rates and its power.
    """
    done, contrary, no_time = run.finished, contradictions(run), why_no_time(run)
    held_out = run.fact("data", "held_out") or run.setting("data", "held_out")
    only = _only_some_images(run, held_out)
    accuracies = [t.accuracy for t in done]
    p = p_mean_reaches(accuracies, target) if accuracies else float("nan")
    checks = (
        Check(not run.problems, _found("the run folder is intact", "the run folder is damaged", run.problems)),
        Check(run.chained, f"trials are chained by hashes: {_yes(run.chained)}"),
        Check(not contrary, _found("its figures are consistent", "its figures are not consistent", contrary)),
        Check(len(done) >= MIN_TRIALS, f"{counted(len(done), 'trial')} finished; a record needs {MIN_TRIALS} or more"),
        Check(run.planned is not None and not run.missing, _missing(run)),
        Check(not run.failed, f"{len(run.failed)} of {len(run.trials)} trials failed"),
        Check(_seeds_as_planned(run), "seeds are consecutive, none held fixed"),
        Check(p < P_VALUE, _significance(accuracies, p, target)),
        Check(run.fact("data", "genuine") is True and not held_out, _images(run, held_out)),
        Check(
            run.setting("data") is not None and not only,
            f"trained on {only or 'all training images'}",
        ),
        Check(
            run.fact("source", "committed") is True,
            f"source committed: {_yes(run.fact('source', 'committed'))}",
        ),
        Check(not _changes(run), _found("code and machine did not change", "resumed after a change", _changes(run))),
        Check(not no_time, _found("trained on like machines, one at a time", _NO_TIME, no_time)),
        *(Check(*judge(run, rerun, len(reruns))) for rerun in reruns),
    )
    return Verdict(
        run, target, checks,
        summarize(accuracies) if done else None, p, summarize([t.seconds for t in done]) if done else None,
    )  # fmt: skip


def _yes(fact: object) -> str:
    return "yes" if fact is True else "no"


def _only_some_images(run: RunRecord, held_out: object) -> str:
    """Return which training images were trained on; empty if all."""
    if run.setting("data", "subset") is not None:
        return "a subset of the training images"
    count = run.setting("data", "train_images")
    if count is not None:
        return f"{one_line(str(count))} of the training images"
    return "the training images that are not held out" if held_out else ""


def _images(run: RunRecord, held_out: object) -> str:
    if held_out:
        return f"judged on {one_line(str(held_out))} held-out training images, not on the test images"
    return f"genuine CIFAR-10: {_yes(run.fact('data', 'genuine'))}"


def _found(good: str, bad: str, details: Sequence[str]) -> str:
    return f"{bad}: {'; '.join(details)}" if details else good


def _missing(run: RunRecord) -> str:
    if run.planned is None:
        return "the number of planned trials is unknown"
    if run.missing:
        return f"{len(run.missing)} of {run.planned} planned trials are missing: {', '.join(map(str, run.missing))}"
    return f"all {run.planned} planned trials are present"


def _seeds_as_planned(run: RunRecord) -> bool:
    first = run.fact("seed")
    return (
        type(first) is int
        and run.setting("seeds") == {"init": None, "order": None, "augment": None}
        and all(t.seed == first + t.index and t.seeds == (t.seed,) * 3 for t in run.trials)
    )


def _significance(accuracies: Sequence[float], p: float, target: float) -> str:
    if math.isnan(p):
        reason = "the trials show no spread" if len(accuracies) > 2 else "at least three trials are needed"
        return f"cannot test that the mean reaches {target:.2%}: {reason}"
    return (
        f"mean reaches {target:.2%}: p = {p:.3g} (one-sided t-test corrected for skewness{_margin(len(accuracies))}); "
        f"a record needs p < {P_VALUE}"
    )


def _margin(n: int) -> str:
    return f" and for a target {margin(n):.2f} std higher" if margin(n) >= 0.005 else ""


def _changes(run: RunRecord) -> list[str]:
    resumed = run.fact("resumed")
    if resumed is None:
        return []
    found = []
    for entry in resumed if isinstance(resumed, list) else [resumed]:
        changed = entry.get("changed") if isinstance(entry, dict) else None
        found += (
            [str(change) for change in changed] if isinstance(changed, list) else ["run.json does not say what changed"]
        )
    return found


def _shape(accuracies: Sequence[float], summary: Summary) -> str:
    """The sample's skewness, its worst trial, and how common bad trials could be without showing up in it."""
    g = float(skewness(np.asarray(accuracies)))
    skewed = "skewness unknown" if math.isnan(g) else f"skewness {round(g, 2) + 0.0:+.2f}"
    below = (
        "" if math.isnan(summary.low) else f", {(summary.mean - summary.minimum) / summary.std:.1f} std below the mean"
    )
    missed = share_that_may_be_missed(len(accuracies), P_VALUE)
    return (
        f"shape     {skewed}; worst trial {summary.minimum:.2%}{below}; even if {missed:.0%} of trials were bad, "
        f"{len(accuracies)} could by chance contain none (probability {P_VALUE:.0%})"
    )


def verdict_lines(verdict: Verdict) -> list[str]:
    """All evidence, one item per line, and the verdict as the last line."""
    run, lines = verdict.run, []
    lines.append(f"{run.path}")
    lines.append(f"recipe    {run.name}")
    lines.append(f"hardware  {run.machine('device') or 'unknown'}, {run.machine('precision')}")
    lines.append(f"source    {run.fact('source', 'git_commit') or 'no commit'!s}")
    timed = run.fact("timed")
    lines.append(f"timed     {', '.join(map(str, timed)) if isinstance(timed, list) else 'not recorded'}")
    if verdict.accuracy:
        a = verdict.accuracy
        spread = "" if math.isnan(a.low) else f" ± {a.std:.3%}, 95% interval {a.low:.3%} to {a.high:.3%}"
        lines.append(f"accuracy  n = {a.n}, mean {a.mean:.3%}{spread}")
        lines.append(_shape([t.accuracy for t in run.finished], a))
        lines.append("trials    " + "  ".join(f"{t.accuracy:.2%} in {t.seconds:.2f} s" for t in run.finished))
    lines += [f"  {'ok  ' if check.passed else 'FAIL'}  {check.description}" for check in verdict.checks]
    lines.append(verdict.line)
    return lines
