"""The command that searches for good settings."""

import argparse
from pathlib import Path
from typing import Any

from airbench.cli.train import add_execution, add_overrides, execution, natural, positive, read_recipes
from airbench.errors import AirbenchError

_HELP = """\
Train a recipe at many settings, judged on held-out training images; train the best again with fresh seeds; name it.

  airbench sweep airbench94_muon --axis optimizers.filters.lr=0.1..0.4:log:5
  airbench sweep RECIPE --axis optimizers.filters.lr=0.1,0.2 --axis train.epochs=4,6      a grid of 2 × 2
  airbench sweep RECIPE --axis optimizers.filters.lr=0.05..0.5:log --random 12            12 drawn at random
  airbench sweep --resume runs/<sweep>

With enough settings (10 more than the regression has coefficients: two for an axis of many numbers, one less than
its values for others), a table says which axes matter, best after --random.

A range is low..high, on a logarithmic scale with :log, in a grid with its number of values. Each setting is a normal
run folder. The recipe of the best is written as best.yaml, ready to be trained.
"""


def add_commands(commands: Any) -> None:
    """Add ``sweep``."""
    sweep = commands.add_parser(
        "sweep",
        help="search for good settings",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sweep.add_argument("items", nargs="*", metavar="RECIPE | KEY=VALUE", help="a recipe, and overrides of its settings")
    sweep.add_argument(
        "--axis", action="append", default=[], metavar="KEY=VALUES", help="what varies; several span a grid"
    )
    sweep.add_argument("--random", type=positive, metavar="N", help="draw N settings at random instead of a grid")
    sweep.add_argument("--trials", type=positive, default=1, metavar="N", help="trials per setting (default 1)")
    sweep.add_argument("--seed", type=natural, default=0, metavar="S", help="trial i has seed S + i (default 0)")
    sweep.add_argument("--top", type=positive, default=2, metavar="K", help="train the best K again (default 2)")
    sweep.add_argument(
        "--again", type=natural, default=3, metavar="N", help="with N fresh trials each (default 3; 0: none)"
    )
    sweep.add_argument("--held-out", type=positive, metavar="N", help="training images to judge on (default: a tenth)")
    sweep.add_argument(
        "--on-test", action="store_true", help="judge on the test images; recorded, and no claim can follow"
    )
    sweep.add_argument("--plan", action="store_true", help="print the settings and exit")
    sweep.add_argument("--resume", type=Path, metavar="SWEEP", help="go on with a sweep")
    sweep.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="where its folder goes (default runs)"
    )
    add_overrides(sweep)
    add_execution(sweep)
    sweep.set_defaults(command=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    from airbench.sweep import folder
    from airbench.sweep.axes import label, parse_axis, settings

    if options.resume is not None:
        if options.items or options.axis:
            raise AirbenchError("--resume takes recipe and axes from the sweep; leave them out")
        return _finish(folder.read(options.resume), options)
    if not options.axis:
        raise AirbenchError("nothing varies; give an axis, such as --axis optimizers.filters.lr=0.1..0.4:log:5")
    if options.on_test and options.held_out:
        raise AirbenchError("--on-test judges on the test images and --held-out does not; give one of them")
    found = settings([parse_axis(text) for text in options.axis], options.random, options.seed)
    if options.plan:
        print("\n".join(label(setting) for setting in found))
        print(f"{len(found)} settings × {options.trials} trials, then {options.top} × {options.again}")
        return 0
    recipe = _judged(options)
    plan = folder.Sweep(Path(), tuple(found), options.trials, options.seed, options.top, options.again, options.on_test)
    return _finish(folder.create(options.out, recipe, plan), options)


def _judged(options: argparse.Namespace) -> Any:
    """Load the recipe, with images held out to judge on."""
    from dataclasses import replace

    from airbench.data.sources import load_dataset

    recipes = read_recipes(options)
    if len(recipes) != 1:
        raise AirbenchError(f"a sweep takes one recipe, not {len(recipes)}")
    (loaded,) = recipes
    data = loaded.recipe.data
    if options.on_test or (data.held_out is not None and options.held_out is None):
        return loaded
    images = options.held_out or len(load_dataset(data.model_copy(update={"held_out": None})).train) // 10
    recipe = loaded.recipe.model_copy(update={"data": data.model_copy(update={"held_out": images})})
    return replace(loaded, recipe=recipe)


def _finish(sweep: Any, options: argparse.Namespace) -> int:
    from airbench.sweep.results import draw, result_lines, write_best
    from airbench.sweep.search import search

    print(f"{len(sweep.settings)} settings → {sweep.path}", flush=True)
    try:
        search(sweep, lambda text: print(text, flush=True), execution(options))
    except KeyboardInterrupt:
        print(f"go on with: airbench sweep --resume {sweep.path}", flush=True)
        raise
    write_best(sweep)
    draw(sweep)
    print()
    for line in result_lines(sweep):
        print(line)
    print(f"its recipe: {sweep.path / 'best.yaml'}; figure: {sweep.path / 'sweep.png'}")
    return 0
