"""Interleaved timing of several functions, for fair comparison on a shared machine."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of several measurements, in seconds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Spread":
        """Summarise one or more measurements."""
        return cls(statistics.median(seconds), min(seconds), max(seconds))


Works = Mapping[str, Callable[[], Any]]

MAX_ROUNDS = 1000
CALLS = 5
"""Calls between two events on a GPU, so that gaps between launches count as they do in a trial."""


def interleaved(works: Works, device: torch.device, repeats: int, min_seconds: float = 0.0) -> dict[str, list[float]]:
    """Time each of ``works`` in turn (A B A B …), in seconds, after one round of warm-up.

    Runs ``repeats`` rounds, and more until they have taken ``min_seconds`` in all, so that short functions are
    measured often. On a GPU, times come from CUDA events, of a few calls at a time.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    _rounds(works, device, 1)
    rounds, spent = 0, 0.0
    while rounds < repeats or (spent < min_seconds and rounds < MAX_ROUNDS):
        more = repeats if device.type == "cuda" else 1
        for name, seconds in _rounds(works, device, more).items():
            taken[name] += seconds
            spent += sum(seconds) * (CALLS if device.type == "cuda" else 1)
        rounds += more
    return taken


def _rounds(works: Works, device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Run ``works`` in turn, ``rounds`` times."""
    if device.type != "cuda":
        return {name: [seconds_of(work, device) for _ in range(rounds)] for name, work in works.items()}
    events: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()  # else launches of this one would hide behind the work of the one before
            start.record()
            for _ in range(CALLS):
                work()
            end.record()
            events[name].append((start, end))
    torch.cuda.synchronize()
    return {name: [start.elapsed_time(end) / 1000 / CALLS for start, end in pairs] for name, pairs in events.items()}


def ratios(slow: list[float], fast: list[float]) -> Spread:
    """Return the ratio of times slow/fast, taken round by round: drift of the machine affects both sides of a round."""
    return Spread.of([a / b for a, b in zip(slow, fast, strict=True)])


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """Time ``work`` in seconds, until the device has finished."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Wait until ``device`` has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()
