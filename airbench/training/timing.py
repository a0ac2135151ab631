"""Timing several pieces of work against each other, fairly on a machine that other programs use as well."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of the seconds that a piece of work took."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Spread":
        """Summarize some measurements, one at least."""
        return cls(statistics.median(seconds), min(seconds), max(seconds))


Works = Mapping[str, Callable[[], Any]]

MAX_ROUNDS = 1000
CALLS = 5
"""Calls of a piece of work between two events on a GPU, so that gaps between launches count as they do in a trial."""


def interleaved(works: Works, device: torch.device, repeats: int, min_seconds: float = 0.0) -> dict[str, list[float]]:
    """Return the seconds of each of ``works``, run in turn (A B A B …), after one round that does not count.

    There are ``repeats`` rounds, and more until the counted ones have taken ``min_seconds`` together, so that
    quick work is seen often. On a GPU time is taken by events, and the host waits once in ``repeats`` rounds.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    _rounds(works, device, 1)
    rounds, spent = 0, 0.0
    while rounds < repeats or (spent < min_seconds and rounds < MAX_ROUNDS):
        more = repeats if device.type == "cuda" else 1
        for name, seconds in _rounds(works, device, more).items():
            taken[name] += seconds
            spent += sum(seconds)
        rounds += more
    return taken


def _rounds(works: Works, device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Run all works in turn, ``rounds`` times."""
    if device.type != "cuda":
        return {name: [seconds_of(work, device) for _ in range(rounds)] for name, work in works.items()}
    events: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(CALLS):
                work()
            end.record()
            events[name].append((start, end))
    torch.cuda.synchronize()
    return {name: [start.elapsed_time(end) / 1000 / CALLS for start, end in pairs] for name, pairs in events.items()}


def ratios(slow: list[float], fast: list[float]) -> Spread:
    """How many times as long the slow work took, round by round: drift of the machine hits both sides of each."""
    return Spread.of([a / b for a, b in zip(slow, fast, strict=True)])


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """How long ``work`` takes, until the device has done it."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()
