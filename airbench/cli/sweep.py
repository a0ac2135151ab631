"""The command that searches for good settings."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.cli.arguments import RUNS, add_execution, add_overrides, execution, given, load_plugins, natural, positive
from airbench.cli.sweep_plan import judged_recipe, sweep_config, sweep_plan, telescope_plan, varied_recipe
from airbench.errors import AirbenchError
from airbench.recipe.plugins import plugin_options
from airbench.text import counted

if TYPE_CHECKING:
    from airbench.recipe import LoadedRecipe
    from airbench.sweep.folder import Sweep
    from airbench.sweep.telescope import Telescope

_HELP = """\
Train a recipe at many settings, judged on held-out training images; retrain the best with fresh seeds; report it.

  airbench sweep airbench94_muon --axis optimizers.filters.lr=0.1..0.4:log:5
  airbench sweep RECIPE --axis optimizers.filters.lr=0.1,0.2 --axis train.epochs=4,6      a grid of 2 × 2
  airbench sweep RECIPE --axis optimizers.filters.lr=0.05..0.5:log --random 12            12 drawn at random
  airbench sweep RECIPE --axis optimizers.filters.lr=0.05..0.5:log --tpe 30               30 chosen by Optuna
  airbench sweep RECIPE --axis optimizers.filters.lr=0.05..0.8:log --telescope net.widths=[16,64,64],[32,128,128]
  airbench sweep SWEEP.yaml                                                               all of this in a file
  airbench sweep --resume runs/<sweep>

A range is low..high, on a logarithmic scale with :log, of whole numbers with :int, in a grid with its number of
values. Each setting is a normal run folder. The recipe of the best is written as best.yaml, ready to be trained.

With enough settings (10 more than the regression has coefficients: two for an axis of many numbers, one less than
its values for others), a table says which axes matter, best after --random.

--tpe needs Optuna (pip install optuna). It stops trials that are below the median of the earlier ones after an epoch,
unless --no-prune, --isolate or --ray is given, a setting has several trials, or epochs or batch size vary.

--telescope searches on small nets first, then around the optimum on larger ones, in a range of --shrink of the one
before. --plan says what it would cost.
"""


_OF_THE_SWEEP = (
    "items", "axis", "random", "tpe", "telescope", "points", "shrink", "trials", "seed", "top", "again", "held_out",
    "on_test", "plan", "no_prune", "epochs", "device", "precision", "threads", "save", "data",
)  # fmt: skip
"""Options that a sweep has recorded when it is resumed."""


def add_commands(commands: Any) -> None:
    """Add ``sweep``."""
    sweep = commands.add_parser(
        "sweep",
        help="search for good settings",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sweep.add_argument(
        "items", nargs="*", metavar="RECIPE | SWEEP.yaml | KEY=VALUE", help="a recipe or a sweep, and overrides"
    )
    sweep.add_argument(
        "--axis", action="append", default=[], metavar="KEY=VALUES", help="what varies; several span a grid"
    )
    how = sweep.add_mutually_exclusive_group()
    how.add_argument("--random", type=positive, metavar="N", help="draw N settings at random instead of a grid")
    how.add_argument("--tpe", type=positive, metavar="N", help="let Optuna choose N settings, one after the other")
    how.add_argument("--telescope", metavar="KEY=VALUES", help="search level by level, from small nets to large ones")
    sweep.add_argument(
        "--no-prune", action="store_true", help="with --tpe: train every trial to its end, as with --isolate and --ray"
    )
    sweep.add_argument("--points", type=_points, metavar="N[,N…]", help="with --telescope: grid points at each level")
    sweep.add_argument(
        "--shrink",
        type=_share,
        metavar="X",
        help="with --telescope: width of a level's range, as a share of the one before (default 0.5)",
    )
    sweep.add_argument("--trials", type=positive, metavar="N", help="trials per setting (default 1)")
    sweep.add_argument("--seed", type=natural, metavar="S", help="trial i has seed S + i (default 0)")
    sweep.add_argument("--top", type=positive, metavar="K", help="train the best K again (default 2)")
    sweep.add_argument("--again", type=natural, metavar="N", help="with N fresh trials each (default 3; 0: none)")
    sweep.add_argument("--held-out", type=positive, metavar="N", help="training images to judge on (default: a tenth)")
    sweep.add_argument(
        "--on-test", action="store_true", help="judge on the test images; this is recorded, and rules out any claim"
    )
    sweep.add_argument("--plan", action="store_true", help="print the settings, or a telescope's cost, and exit")
    sweep.add_argument("--resume", type=Path, metavar="SWEEP", help="go on with a sweep")
    sweep.add_argument("--out", type=Path, default=RUNS, metavar="DIR", help="where its folder goes (default runs)")
    add_overrides(sweep)
    add_execution(sweep)
    sweep.set_defaults(command=_sweep)


def _points(text: str) -> list[int]:
    found = [positive(part) for part in text.split(",")]
    if min(found) < 2:
        raise argparse.ArgumentTypeError(f"{text}: give two points or more at each level, such as 7,5,3")
    return found


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0, at most 1")
    return value


def _sweep(options: argparse.Namespace) -> int:
    from airbench.sweep import folder, telescope

    if options.resume is not None:
        superfluous = given(options, _OF_THE_SWEEP) + (["--out"] if options.out != RUNS else [])
        if superfluous:
            raise AirbenchError(f"--resume takes everything from the sweep; leave out {', '.join(superfluous)}")
        load_plugins(options)
        if telescope.is_telescope(options.resume):
            return _finish_telescope(telescope.read(options.resume), options)
        return _finish(folder.read(options.resume), options)
    execution(options)  # before anything is written: it may be impossible
    config = sweep_config(options)
    if config.telescope is not None:
        narrowing, recipe = telescope_plan(config), judged_recipe(config, options)
        if options.plan:
            telescope.check(recipe, narrowing, config.origins)
            return _print_costs(narrowing, recipe)
        return _finish_telescope(telescope.create(options.out, recipe, narrowing, config.origins), options)
    plan = sweep_plan(config)
    if options.plan:
        folder.check(varied_recipe(config, options), plan, config.origins)
        return _print_plan(plan)
    return _finish(folder.create(options.out, judged_recipe(config, options), plan, config.origins), options)


def _print_plan(plan: "Sweep") -> int:
    from airbench.sweep.axes import label

    if plan.count is None:
        print("\n".join(label(setting) for setting in plan.settings))
    else:
        print("\n".join(plan.axes))
    count = plan.count or len(plan.settings)
    again = f", then {min(plan.top, count)} × {plan.again}" if plan.again else ""
    print(f"{counted(count, 'setting')} × {counted(plan.trials, 'trial')}{again}")
    return 0


def _print_costs(plan: "Telescope", recipe: "LoadedRecipe") -> int:
    from airbench.benchmark.cost import cost_of_trial
    from airbench.experiment.worker import Worker
    from airbench.sweep import telescope

    worker = Worker()  # one for all levels, so that images are loaded once
    costs = [cost_of_trial(each, worker) for each in telescope.recipes(plan, recipe)]
    print("\n".join(telescope.plan_lines(plan, [(cost.pflop, cost.hours) for cost in costs])))
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def _resumable(path: Path) -> Iterator[None]:
    """Say how to go on after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        _say(f"go on with: airbench sweep --resume {path}{plugin_options()}")
        raise


def _finish(sweep: "Sweep", options: argparse.Namespace) -> int:
    from airbench.sweep.figure import FIGURE, draw
    from airbench.sweep.results import result_lines, write_best
    from airbench.sweep.search import search
    from airbench.sweep.trained import require_finished

    print(f"{counted(sweep.count or len(sweep.settings), 'setting')} → {sweep.path}", flush=True)
    with _resumable(sweep.path):
        sweep = search(sweep, _say, execution(options))
    require_finished(sweep)
    print()
    for line in result_lines(sweep):
        print(line)
    write_best(sweep)
    draw(sweep)
    print(f"its recipe: {sweep.path / 'best.yaml'}; figure: {sweep.path / FIGURE}")
    return 0


def _finish_telescope(plan: "Telescope", options: argparse.Namespace) -> int:
    from airbench.sweep import telescope
    from airbench.sweep.results import result_lines, write_best
    from airbench.sweep.telescope_figure import FIGURE, draw_telescope

    print(f"{len(plan.values)} levels → {plan.path}", flush=True)
    with _resumable(plan.path):
        levels = telescope.run(plan, _say, execution(options))
    found = telescope.optima(plan, levels)
    telescope.write_optima(plan, found)
    write_best(levels[-1])
    print()
    for line in (*result_lines(levels[-1], levels[:-1]), "", *telescope.drift_lines(plan, found)):
        print(line)
    draw_telescope(plan, levels, found)
    print(f"its recipe: {levels[-1].path / 'best.yaml'}; figure: {plan.path / FIGURE}")
    return 0
