"""Sources of the variance of accuracy: initialisation, data order, augmentation."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from airbench.analysis.experiments import refuse_duplicates, same_experiment
from airbench.analysis.statistics import Share, summarize, variance_share
from airbench.errors import AirbenchError
from airbench.runs import RunRecord

STREAMS = ("init", "order", "augment")


@dataclass(frozen=True)
class Source:
    """One source of randomness and its share of the variance."""

    stream: str
    std_when_fixed: float
    n: int
    share: Share
    failed: int = 0
    """Trials that failed, and do not count."""


def fixed_stream(run: RunRecord) -> str | None:
    """The stream whose seed the run holds fixed; None if all vary. Raises AirbenchError if it holds several fixed."""
    seeds = run.recipe.get("seeds")
    fixed = [s for s in STREAMS if isinstance(seeds, dict) and seeds.get(s) is not None]
    if len(fixed) > 1:
        raise AirbenchError(f"{run.path}: holds {' and '.join(fixed)} fixed; hold one at a time")
    return fixed[0] if fixed else None


def variance_sources(runs: Sequence[RunRecord]) -> tuple[float, int, list[Source]]:
    """Standard deviation with all seeds varying, its n, and the share of each source, from runs of one recipe.

    Runs on different engines count as the same recipe; see ``pooling_note``.

    Raises AirbenchError for runs of different recipes, and if there are fewer than two trials in which all seeds vary.
    """
    if not all(same_experiment(runs[0], run, besides=[("seeds",)]) for run in runs[1:]):
        raise AirbenchError("the runs are of different recipes; only seeds and engines may differ")
    refuse_duplicates(runs)
    by_stream: dict[str | None, list[float]] = {}
    failed: Counter[str | None] = Counter()
    for run in runs:
        stream = fixed_stream(run)
        by_stream.setdefault(stream, []).extend(t.accuracy for t in run.finished)
        failed[stream] += len(run.failed)
    everything = by_stream.pop(None, [])
    if len(everything) < 2:
        raise AirbenchError("a baseline of at least two trials with no seed held fixed is needed")
    sources = [
        Source(
            stream or "",
            summarize(values).std if values else float("nan"),
            len(values),
            variance_share(everything, values),
            failed[stream],
        )
        for stream, values in by_stream.items()
    ]
    return summarize(everything).std, len(everything), sources


def variance_lines(std: float, n: int, sources: Sequence[Source], failed: int = 0) -> list[str]:
    """Format the sources as a table; ``failed`` trials in which all seeds vary do not count."""
    lines = [f"all seeds vary        std {std:.4%}  n = {n}{_failed(failed)}"]
    lines += [
        f"{s.stream + ' held fixed':<20}  std {_std(s)}  n = {s.n}{_failed(s.failed)}  {_share(s.share)}"
        for s in sources
    ]
    known = [s for s in sources if not math.isnan(s.share.low)]
    if known and all(s.share.low <= 0 <= s.share.high for s in known):
        lines.append("no share differs significantly from zero at this n; intervals narrow with its square root")
    lines += [
        f"the trials vary more with {s.stream} held fixed, which no source of variance explains: this one value of its "
        "seed may be a bad one, or the trials differ in something else"
        for s in known
        if s.share.high < 0
    ]
    return lines


def _failed(count: int) -> str:
    return f" ({count} failed)" if count else ""


def _std(source: Source) -> str:
    return "unknown" if math.isnan(source.std_when_fixed) else f"{source.std_when_fixed:.4%}"


def _share(share: Share) -> str:
    if math.isnan(share.share):
        return "share unknown: two trials of each are needed, and spread where all seeds vary"
    if math.isnan(share.low):
        return f"share {share.share:+.0%} (no interval: these trials show no spread)"
    return f"share {share.share:+.0%} (95% interval {share.low:+.0%} to {share.high:+.0%})"
