"""How the time of a training step scales with batch size, width, image size and threads."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from airbench.benchmark.step import CIFAR, build_step
from airbench.device import Machine, cpu_count
from airbench.recipe import Recipe
from airbench.training.timing import Spread, interleaved


@dataclass(frozen=True)
class Growth:
    """Seconds of a step at several values of one quantity, and the exponent p of seconds ∝ size^p."""

    thing: str
    sizes: list[int]
    seconds: list[Spread]
    exponent: Spread
    """Least-squares slope of log seconds on log size, round by round."""


def measure_growth(recipe: Recipe, machine: Machine, side: int = 32, repeats: int = 3) -> Iterator[Growth]:
    """Vary one quantity at a time; the others are those of ``recipe``, except for a quarter of its batch size.

    Widths are those of the first group, with the others in proportion; a net of the user's that does not say how it is
    scaled (``NetConfig.scaled``) has none. Threads are varied on a CPU only.
    """
    batch = max(2, recipe.train.batch_size // 4)

    def step(batch: int = batch, side: int = side, share: float = 1.0) -> Callable[[], None]:
        net = recipe.net.scaled(share) if share < 1 else recipe.net
        return build_step(
            recipe.model_copy(update={"net": net}), machine, machine.dtype, batch, replace(CIFAR, side=side)
        )

    machine.use()
    batches = sorted({max(2, recipe.train.batch_size // part) for part in (8, 4, 2, 1)})
    yield _growth("batch size", {size: step(size) for size in batches}, machine, repeats)
    whole = recipe.net.first_width
    if whole is not None:
        shares = {max(1, round(share * whole)): share for share in (0.25, 0.5, 1.0)}
        yield _growth("width", {width: step(share=share) for width, share in shares.items()}, machine, repeats)
    yield _growth("side of an image", {s: step(side=s) for s in (side, 3 * side // 2, 2 * side)}, machine, repeats)
    threads = [count for count in (1, 2, 4, 8, 16) if count <= cpu_count()]
    if machine.device.type == "cpu" and len(threads) > 1:
        yield _growth("threads", {count: _with_threads(step(), machine, count) for count in threads}, machine, repeats)
        machine.use()


def _with_threads(work: Callable[[], None], machine: Machine, threads: int) -> Callable[[], None]:
    those = replace(machine, threads=threads)

    def threaded() -> None:
        those.use()
        work()

    return threaded


def _growth(thing: str, works: Mapping[int, Callable[[], Any]], machine: Machine, repeats: int) -> Growth:
    taken = list(interleaved({str(size): work for size, work in works.items()}, machine.device, repeats).values())
    rounds = zip(*taken, strict=True)
    exponents = [exponent(list(works), list(seconds)) for seconds in rounds]
    return Growth(thing, list(works), [Spread.of(seconds) for seconds in taken], Spread.of(exponents))


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Fit p of the power law seconds ∝ size^p, by least squares in logarithms; NaN for fewer than two sizes."""
    if len(set(sizes)) < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


HEADER = ("varied", "size: milliseconds", "exponent")


def growth_cells(growth: Growth) -> tuple[str, ...]:
    """Format a row of the table."""
    pairs = zip(growth.sizes, growth.seconds, strict=True)
    p = growth.exponent
    return (
        growth.thing,
        "  ".join(f"{size}: {1e3 * seconds.median:.0f}" for size, seconds in pairs),
        f"{p.median:.2f} ({p.min:.2f} to {p.max:.2f})",
    )
