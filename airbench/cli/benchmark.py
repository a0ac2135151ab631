"""Commands that measure speed."""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from airbench.cli.arguments import add_overrides, output_file, positive
from airbench.cli.recipes import read_recipes, split_items
from airbench.errors import AirbenchError

T = TypeVar("T")

_PROFILE_HELP = """\
Show where the time of a training step goes: each layer, its two gradients, the loss and each optimizer, timed
separately on random images, compared with the whole step and this machine's peak.

  airbench profile airbench94_muon
  airbench profile airbench94_muon train.batch_size=500 --json profile.json
"""
_BENCH_HELP = """\
Measure how fast each part is on this machine, compared with a slower alternative or a larger input. Both sides are
interleaved in one process; the last column is the median ratio of their times over the rounds, and its spread. The
training step has 500 images, regardless of the recipe's batch size. Takes under 5 minutes.

  airbench bench
  airbench bench --json bench.json
"""
_SCALING_HELP = """\
Measure how the time of a training step grows with the batch size, the net's width, the image's side and the number of
threads: each at several sizes, on random images, interleaved. Fits the exponent p of time ∝ size^p. Takes minutes.

  airbench scaling airbench94_muon
"""
_SPEEDUP_HELP = """\
Measure the speedup over plain PyTorch, that is, the same recipe with PyTorch's own operations and default settings:
without the compiled kernels on a CPU, without compilation and CUDA graphs on a GPU. Both sides are interleaved, each in
its own process, which starts a trial, takes some of its steps and evaluates some test images. Takes minutes.

  airbench speedup airbench94_muon --rounds 3 --json speedup.json
"""


def add_commands(commands: Any) -> None:
    """Add ``profile``, ``bench``, ``scaling`` and ``speedup``."""
    raw = argparse.RawDescriptionHelpFormatter
    profile = commands.add_parser(
        "profile", help="profile a training step", description=_PROFILE_HELP, formatter_class=raw
    )
    profile.add_argument(
        "items", nargs="+", metavar="RECIPE | KEY=VALUE", help="a recipe, and overrides of its settings"
    )
    profile.add_argument("--repeats", type=positive, default=3, metavar="N", help="measurements per part (default 3)")
    profile.set_defaults(command=_profile)
    bench = commands.add_parser(
        "bench", help="benchmark fast implementations against slow ones", description=_BENCH_HELP, formatter_class=raw
    )
    bench.add_argument("items", nargs="*", metavar="RECIPE | KEY=VALUE", help="a recipe (default airbench94_muon)")
    bench.set_defaults(command=_bench)
    scaling = commands.add_parser(
        "scaling", help="how the time of a step scales", description=_SCALING_HELP, formatter_class=raw
    )
    scaling.add_argument(
        "items", nargs="+", metavar="RECIPE | KEY=VALUE", help="a recipe, and overrides of its settings"
    )
    scaling.set_defaults(command=_scaling)
    speedup = commands.add_parser(
        "speedup", help="speedup over plain PyTorch", description=_SPEEDUP_HELP, formatter_class=raw
    )
    speedup.add_argument(
        "items", nargs="+", metavar="RECIPE | KEY=VALUE", help="a recipe, and overrides of its settings"
    )
    speedup.add_argument("--rounds", type=positive, default=3, metavar="N", help="processes per side (default 3)")
    speedup.set_defaults(command=_speedup)
    for parser in (profile, bench, scaling, speedup):
        add_overrides(parser)
        parser.add_argument("--json", type=output_file, metavar="FILE", help="also write the unrounded numbers to FILE")


def _read(options: argparse.Namespace) -> Any:
    recipes = read_recipes(options)
    if len(recipes) != 1:
        raise AirbenchError("name one recipe with one length")
    from airbench.device import choose_machine, prepare

    if options.save is not None:
        raise AirbenchError("--save has no effect here: nothing is trained; leave it out")
    recipe = recipes[0].recipe
    machine = choose_machine(recipe.engine)
    prepare(machine)
    return recipe, machine


def _profile(options: argparse.Namespace) -> int:
    recipe, machine = _read(options)
    from airbench.analysis.summary import table
    from airbench.benchmark.bench import rates
    from airbench.benchmark.profile import profile_rows, profile_step
    from airbench.benchmark.step import shape_of

    unit = "µs" if machine.device.type == "cuda" else "ms"
    shape = shape_of(recipe)
    images = f"{recipe.train.batch_size} random images of {shape.side}×{shape.side}×{shape.channels}"
    print(f"{recipe.name}: {machine}, {images}; medians in {unit}, each operation launched by the host", flush=True)
    peak = rates(machine)
    profile = profile_step(recipe, machine, shape, options.repeats)
    print("\n".join(table(profile_rows(profile, peak[f"{machine.precision}_tflops"], unit))))
    print(f"peak: {peak[f'{machine.precision}_tflops']} TFLOP/s in a {machine.precision} product of large matrices")
    if machine.device.type == "cpu":
        print("GFLOP count direct convolution; Winograd's method takes fewer, so its rate may exceed the peak")
    _write(options.json, {"recipe": recipe.name, "machine": str(machine), "peak": peak, **profile.as_dict()})
    return 0


def _bench(options: argparse.Namespace) -> int:
    from airbench.analysis.summary import table

    if not split_items(options.items)[0]:
        options.items = ["airbench94_muon", *options.items]
    recipe, machine = _read(options)
    from airbench.benchmark.bench import HEADER, bench_cells, rates, run_bench

    peak = rates(machine)
    shown = ", ".join(
        f"{name.partition('_')[0]} {value} TFLOP/s" for name, value in peak.items() if "tflops" in name and value
    )
    print(f"{machine}; products: {shown}; copies: {peak['copy_gbs']} GB/s; images of 32×32×3", flush=True)
    rows = _measured(run_bench(recipe, machine), lambda row: f"{row.work}: {row.way} against {row.other}")
    print("\n" + "\n".join(table([HEADER, *map(bench_cells, rows)])))
    _write(options.json, {"machine": str(machine), "rates": peak, "rows": [asdict(row) for row in rows]})
    return 0


def _scaling(options: argparse.Namespace) -> int:
    recipe, machine = _read(options)
    from airbench.analysis.summary import table
    from airbench.benchmark.scaling import HEADER, growth_cells, measure_growth

    print(f"{recipe.name}: {machine}, random images of 32×32×3 unless their side is varied", flush=True)
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
    """Collect all measurements, announcing each as it arrives."""
    done = []
    for measurement in measurements:
        print(f"  measured: {describe(measurement)}", flush=True)
        done.append(measurement)
    return done


def _write(file: Path | None, numbers: dict[str, Any]) -> None:
    if file is not None:
        file.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
        print(f"written: {file}")
