"""Commands that measure speed."""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from airbench.cli.train import add_overrides, positive, read_recipes, split_items
from airbench.errors import AirbenchError

T = TypeVar("T")

_PROFILE_HELP = """\
Where does the time of a training step go? Each layer, its two gradients, the loss and each optimizer, timed on
their own on random images, beside the whole step and this machine's peak.

  airbench profile configs/airbench94_muon.yaml
  airbench profile configs/airbench94_muon.yaml train.batch_size=500 --json profile.json
"""
_BENCH_HELP = """\
How fast are the parts on this machine, each beside a slower way to do it, or beside more of it? Both sides take
turns in one process; the last column is the median over the turns of how many times as long the other takes, and
its spread. The training step is one of 500 images, whatever the recipe's batch. Under 5 minutes.

  airbench bench
  airbench bench --json bench.json
"""
_SCALING_HELP = """\
How does the time of a training step grow with the batch, the net's width, the image's side and the number of threads?
Each at several sizes, on random images, in turn; and the exponent p of time ∝ size^p. A few minutes.

  airbench scaling configs/airbench94_muon.yaml
"""
_SPEEDUP_HELP = """\
How much faster is this than plain PyTorch on a CPU? Plain: the same recipe by PyTorch's own operations, and the C
library's allocator as it comes. Both sides take turns, each in a process of its own that starts a trial, takes some
steps of it and evaluates some test images. A few minutes.

  airbench speedup configs/airbench94_muon.yaml --rounds 3 --json speedup.json
"""


def add_commands(commands: Any) -> None:
    """Add ``profile``, ``bench``, ``scaling`` and ``speedup``."""
    raw = argparse.RawDescriptionHelpFormatter
    profile = commands.add_parser(
        "profile", help="where a step's time goes", description=_PROFILE_HELP, formatter_class=raw
    )
    profile.add_argument(
        "items", nargs="+", metavar="RECIPE | KEY=VALUE", help="a recipe, and overrides of its settings"
    )
    profile.add_argument("--repeats", type=positive, default=3, metavar="N", help="measurements of each (default 3)")
    profile.set_defaults(command=_profile)
    bench = commands.add_parser(
        "bench", help="fast ways against slow ones", description=_BENCH_HELP, formatter_class=raw
    )
    bench.add_argument(
        "items", nargs="*", metavar="RECIPE | KEY=VALUE", help="a recipe (default configs/airbench94_muon.yaml)"
    )
    bench.set_defaults(command=_bench)
    scaling = commands.add_parser(
        "scaling", help="how a step's time grows", description=_SCALING_HELP, formatter_class=raw
    )
    scaling.add_argument(
        "items", nargs="+", metavar="RECIPE | KEY=VALUE", help="a recipe, and overrides of its settings"
    )
    scaling.set_defaults(command=_scaling)
    speedup = commands.add_parser(
        "speedup", help="this against plain PyTorch on a CPU", description=_SPEEDUP_HELP, formatter_class=raw
    )
    speedup.add_argument(
        "items", nargs="+", metavar="RECIPE | KEY=VALUE", help="a recipe, and overrides of its settings"
    )
    speedup.add_argument("--rounds", type=positive, default=3, metavar="N", help="processes of each side (default 3)")
    speedup.set_defaults(command=_speedup)
    for parser in (profile, bench, scaling, speedup):
        add_overrides(parser)
        parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers, unrounded, to FILE")


def _read(options: argparse.Namespace) -> Any:
    recipes = read_recipes(options)
    if len(recipes) != 1:
        raise AirbenchError("name one recipe, of one length")
    from airbench.device import choose_machine, prepare

    recipe = recipes[0].recipe
    machine = choose_machine(recipe.engine)
    prepare(machine)
    return recipe, machine


def _profile(options: argparse.Namespace) -> int:
    recipe, machine = _read(options)
    from airbench.analysis.summary import table
    from airbench.benchmark.bench import rates
    from airbench.benchmark.profile import profile_rows, profile_step

    unit = "µs" if machine.device.type == "cuda" else "ms"
    print(f"{recipe.name}: {machine}, batch {recipe.train.batch_size}; medians in {unit}", flush=True)
    peak = rates(machine)
    profile = profile_step(recipe, machine, repeats=options.repeats)
    print("\n".join(table(profile_rows(profile, peak[f"{machine.precision}_tflops"], unit))))
    print(f"peak: {peak[f'{machine.precision}_tflops']} TFLOP/s in a {machine.precision} product of large matrices")
    if machine.device.type == "cpu":
        print(
            "GFLOP are those of a convolution's definition: by Winograd's method it takes fewer, and may pass the peak"
        )
    _write(options.json, {"recipe": recipe.name, "machine": str(machine), "peak": peak, **profile.as_dict()})
    return 0


def _bench(options: argparse.Namespace) -> int:
    from airbench.analysis.summary import table

    if not split_items(options.items)[0]:
        options.items = ["configs/airbench94_muon.yaml", *options.items]
    recipe, machine = _read(options)
    from airbench.benchmark.bench import HEADER, bench_cells, rates, run_bench

    peak = rates(machine)
    shown = ", ".join(
        f"{name.partition('_')[0]} {value} TFLOP/s" for name, value in peak.items() if "tflops" in name and value
    )
    print(f"{machine}; products: {shown}; copies: {peak['copy_gbs']} GB/s", flush=True)
    rows = _measured(run_bench(recipe, machine), lambda row: f"{row.work}: {row.way} against {row.other}")
    print("\n" + "\n".join(table([HEADER, *map(bench_cells, rows)])))
    _write(options.json, {"machine": str(machine), "rates": peak, "rows": [asdict(row) for row in rows]})
    return 0


def _scaling(options: argparse.Namespace) -> int:
    recipe, machine = _read(options)
    from airbench.analysis.summary import table
    from airbench.benchmark.scaling import HEADER, growth_cells, measure_growth

    print(f"{recipe.name}: {machine}", flush=True)
    growths = _measured(measure_growth(recipe, machine), lambda growth: growth.thing)
    print("\n" + "\n".join(table([HEADER, *map(growth_cells, growths)])))
    _write(options.json, {"recipe": recipe.name, "machine": str(machine), "growths": [asdict(g) for g in growths]})
    return 0


def _speedup(options: argparse.Namespace) -> int:
    recipe, machine = _read(options)
    from airbench.analysis.summary import table
    from airbench.benchmark.speedup import HEADER, run_speedup, speedup_cells

    print(f"{recipe.name}: {machine}, batch {recipe.train.batch_size}", flush=True)
    rows = list(run_speedup(recipe, options.rounds, lambda line: print(f"  {line}", flush=True)))
    print("\n" + "\n".join(table([HEADER, *map(speedup_cells, rows)])))
    _write(options.json, {"recipe": recipe.name, "machine": str(machine), "rows": [asdict(row) for row in rows]})
    return 0


def _measured(measurements: Iterable[T], describe: Callable[[T], str]) -> list[T]:
    """All of them, each announced when it is there."""
    done = []
    for measurement in measurements:
        print(f"  measured: {describe(measurement)}", flush=True)
        done.append(measurement)
    return done


def _write(file: Path | None, numbers: dict[str, Any]) -> None:
    if file is not None:
        file.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
        print(f"written: {file}")
