"""Sources of the variance of accuracy: initialisation, data order, augmentation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airbench.analysis.experiments import bits, refuse_duplicates, same_experiment
from airbench.analysis.statistics import ALPHA, Share, pooled_std, summarize, variance_share
from airbench.errors import AirbenchError
from airbench.runs import RunRecord

STREAMS = ("init", "order", "augment")


@dataclass(frozen=True)
class Source:
    """One source of randomness and its share of the variance."""

    stream: str
    std_when_fixed: float
    """Within the trials of each value at which it was held, pooled; NaN if no value has two trials."""
    n: int
    share: Share
    """Its interval holds jointly with those of the other sources."""
    failed: int = 0
    """Trials that failed, and do not count."""
    values: int = 1
    """At how many values of its seed the stream was held."""
    shared: int = 0
    """Trials that the runs in which all seeds vary hold as well, and that count there alone."""


def fixed_stream(run: RunRecord) -> str | None:
    """The stream whose seed the run holds fixed; None if all vary. Raises AirbenchError if it holds several fixed."""
    seeds = run.recipe.get("seeds")
    fixed = [s for s in STREAMS if isinstance(seeds, dict) and seeds.get(s) is not None]
    if len(fixed) > 1:
        raise AirbenchError(f"{run.path}: holds {' and '.join(fixed)} fixed; hold one at a time")
    return fixed[0] if fixed else None


def variance_sources(runs: Sequence[RunRecord]) -> tuple[float, int, list[Source]]:
    """Standard deviation with all seeds varying, its n, and the share of each source, from runs of one recipe.

    A stream may be held at several values, in several runs: only the variance within each of them counts. Runs on
    different engines count as the same recipe; see ``pooling_note``.

    Raises AirbenchError for runs of different recipes, and if there are fewer than two trials in which all seeds vary.
    """
    if not all(same_experiment(runs[0], run, besides=[("seeds",)]) for run in runs[1:]):
        raise AirbenchError("the runs are of different recipes; only seeds and engines may differ")
    refuse_duplicates(runs)
    by_stream: dict[str | None, list[RunRecord]] = {}
    for run in runs:
        by_stream.setdefault(fixed_stream(run), []).append(run)
    everything = [trial for run in by_stream.pop(None, []) for trial in run.finished]
    if len(everything) < 2:
        raise AirbenchError("a baseline of at least two trials with no seed held fixed is needed")
    accuracies, counted = [trial.accuracy for trial in everything], {bits(trial) for trial in everything} - {None}
    confidence = 1 - ALPHA / max(len(by_stream), 1)
    sources = [_source(stream or "", held, accuracies, counted, confidence) for stream, held in by_stream.items()]
    return summarize(accuracies).std, len(everything), sources


def _source(
    stream: str, runs: Sequence[RunRecord], everything: Sequence[float], counted: set[Any], confidence: float
) -> Source:
    by_value: dict[Any, list[float]] = {}
    shared = 0
    for run in runs:
        own = [trial.accuracy for trial in run.finished if bits(trial) not in counted]
        shared += len(run.finished) - len(own)
        by_value.setdefault(run.setting("seeds", stream), []).extend(own)
    samples = list(by_value.values())
    std, degrees = pooled_std(samples)
    return Source(
        stream,
        0.0 if degrees == 0 and any(len(sample) > 1 for sample in samples) else std,
        sum(len(sample) for sample in samples),
        variance_share(everything, samples, confidence),
        sum(len(run.failed) for run in runs),
        len(samples),
        shared,
    )


def variance_lines(std: float, n: int, sources: Sequence[Source], failed: int = 0) -> list[str]:
    """Format the sources as a table; ``failed`` trials in which all seeds vary do not count."""
    lines = [f"all seeds vary        std {std:.4%}  n = {n}{_failed(failed)}"]
    lines += [
        f"{s.stream + ' held fixed':<20}  std {_std(s)}  n = {s.n}{_apart(s)}  {_share(s.share, len(sources))}"
        for s in sources
    ]
    known = [s for s in sources if not math.isnan(s.share.low)]
    if known and all(s.share.low <= 0 <= s.share.high for s in known):
        lines.append("no share differs significantly from zero at this n; intervals narrow with its square root")
    lines += [
        f"the trials vary more with {s.stream} held fixed, which no source of variance explains: "
        f"{'this one value' if s.values == 1 else 'some value'} of its seed may be a bad one, or the trials differ in "
        "something else"
        for s in known
        if s.share.high < 0
    ]
    return lines


def _failed(count: int) -> str:
    return f" ({count} failed)" if count else ""


def _apart(source: Source) -> str:
    at = f" at {source.values} values" if source.values > 1 else ""
    verb = "is" if source.shared == 1 else "are"
    shared = f" ({source.shared} more {verb} among the trials above)" if source.shared else ""
    return at + shared + _failed(source.failed)


def _std(source: Source) -> str:
    return "unknown" if math.isnan(source.std_when_fixed) else f"{source.std_when_fixed:.4%}"


def _share(share: Share, sources: int) -> str:
    if math.isnan(share.share):
        return "share unknown: two trials at one value are needed, and spread where all seeds vary"
    if math.isnan(share.low):
        return f"share {share.share:+.0%} (no interval: these trials show no spread)"
    jointly = ", jointly," if sources > 1 else ""
    return f"share {share.share:+.0%} (95% interval{jointly} {share.low:+.0%} to {share.high:+.0%})"
