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


def interleaved(
    works: Mapping[str, Callable[[], Any]], device: torch.device, repeats: int, min_seconds: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each of ``works``, run in turn (A B A B …), after one round that does not count.

    There are ``repeats`` rounds, and more until the counted ones have taken ``min_seconds`` together, so that
    quick work is seen often.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    rounds, spent = 0, 0.0
    while rounds <= repeats or (spent < min_seconds and rounds < 1000):
        for name, work in works.items():
            seconds = seconds_of(work, device)
            if rounds:
                taken[name].append(seconds)
                spent += seconds
        rounds += 1
    return taken


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
