"""The command that searches for good settings."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.cli.train import (
    add_execution,
    add_overrides,
    execution,
    load_plugins,
    natural,
    positive,
    read_recipes,
    split_items,
)
from airbench.errors import AirbenchError

if TYPE_CHECKING:
    from airbench.recipe import LoadedRecipe
    from airbench.sweep.config import SweepConfig
    from airbench.sweep.folder import Sweep
    from airbench.sweep.telescope import Telescope

_HELP = """\
Train a recipe at many settings, judged on held-out training images; train the best again with fresh seeds; name it.

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

--tpe needs Optuna (pip install 'airbench[optuna]'). It stops trials that are below the median of the earlier ones
after an epoch, unless --no-prune or --ray is given, a setting has several trials, or train.epochs or train.batch_size
varies.

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
    sweep.add_argument("--no-prune", action="store_true", help="with --tpe: train every trial to its end")
    sweep.add_argument("--points", type=_points, metavar="N[,N…]", help="with --telescope: grid points at each level")
    sweep.add_argument("--shrink", type=_share, metavar="X", help="with --telescope: range of a level (default 0.5)")
    sweep.add_argument("--trials", type=positive, metavar="N", help="trials per setting (default 1)")
    sweep.add_argument("--seed", type=natural, metavar="S", help="trial i has seed S + i (default 0)")
    sweep.add_argument("--top", type=positive, metavar="K", help="train the best K again (default 2)")
    sweep.add_argument("--again", type=natural, metavar="N", help="with N fresh trials each (default 3; 0: none)")
    sweep.add_argument("--held-out", type=positive, metavar="N", help="training images to judge on (default: a tenth)")
    sweep.add_argument(
        "--on-test", action="store_true", help="judge on the test images; recorded, and no claim can follow"
    )
    sweep.add_argument("--plan", action="store_true", help="print the settings, or a telescope's cost, and exit")
    sweep.add_argument("--resume", type=Path, metavar="SWEEP", help="go on with a sweep")
    sweep.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="where its folder goes (default runs)"
    )
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
    from airbench.sweep.axes import ends, parse_axis

    if options.resume is not None:
        given = [name for name in _OF_THE_SWEEP if getattr(options, name) not in (None, [], False)]
        if given:
            raise AirbenchError(f"--resume takes everything from the sweep; leave out {', '.join(given)}")
        load_plugins(options)
        if telescope.is_telescope(options.resume):
            return _finish_telescope(telescope.read(options.resume), options)
        return _finish(folder.read(options.resume), options)
    execution(options)  # before anything is written: it may be impossible
    config = _config(options)
    if config.telescope is not None:
        return _telescope(config, options)
    plan = _plan(config)
    if options.plan:
        return _print_plan(plan)
    sweep = folder.create(options.out, _judged(config, options), plan)
    if plan.count is not None:
        folder.check_or_remove(sweep, [setting for text in plan.axes for setting in ends(parse_axis(text))])
    return _finish(sweep, options)


def _config(options: argparse.Namespace) -> "SweepConfig":
    """Return the sweep of the command line: a sweep's file with what is given beside it, or a recipe and axes."""
    from airbench.sweep.config import SweepConfig, is_sweep, load_sweep

    files, overrides = split_items(options.items)
    config = None
    if len(files) == 1 and is_sweep(files[0]):
        config = load_sweep(files[0])
        options.items = [config.recipe, *config.overrides, *overrides]
        files = [config.recipe]
    if not options.axis and config is None:
        raise AirbenchError("nothing varies; give an axis, such as --axis optimizers.filters.lr=0.1..0.4:log:5")
    if len(files) != 1:
        raise AirbenchError(f"a sweep takes one recipe, not {len(files)}")
    return _changed(config or SweepConfig(recipe=files[0], axes=_axes(options)), options)


def _axes(options: argparse.Namespace) -> dict[str, str]:
    """Return the axes of the command line, by key."""
    from airbench.sweep.axes import parse_axis

    found: dict[str, str] = {}
    for text in options.axis:
        key = parse_axis(text).key
        if key in found:
            raise AirbenchError(f"--axis: {key} is given twice")
        found[key] = text.partition("=")[2]
    return found


def _changed(config: "SweepConfig", options: argparse.Namespace) -> "SweepConfig":
    """Return ``config`` with what the command line gives."""
    from airbench.sweep.axes import split_values
    from airbench.sweep.config import changed

    changes: dict[str, Any] = {
        key: value
        for key in ("trials", "seed", "top", "again", "held_out")
        if (value := getattr(options, key)) is not None
    }
    if options.on_test:
        changes["on_test"] = True
    if options.axis:
        changes["axes"] = _axes(options)
    if options.random or options.tpe:
        method = "random" if options.random else "tpe"
        changes |= {"method": method, "settings": options.random or options.tpe, "telescope": None}
    if options.no_prune:
        changes["prune"] = False
    if options.telescope:
        key, equals, values = options.telescope.partition("=")
        if not equals or len(split_values(values)) < 2:
            raise AirbenchError(f"--telescope {options.telescope}: write KEY=a,b with the values from small to large")
        telescope = {"key": key, "values": split_values(values)}
        changes |= {"method": "grid", "settings": None, "telescope": telescope}
    inner = {key: value for key in ("points", "shrink") if (value := getattr(options, key)) is not None}
    if inner and not changes.get("telescope", config.telescope):
        raise AirbenchError("--points and --shrink belong to --telescope")
    if inner:
        old = config.telescope.model_dump() if config.telescope else {}
        changes["telescope"] = {**old, **changes.get("telescope", {}), **inner}
    if options.on_test and options.held_out is not None:
        raise AirbenchError("--on-test judges on the test images and --held-out does not; give one of them")
    return changed(config, changes)


def _plan(config: "SweepConfig") -> "Sweep":
    """Return the sweep that ``config`` describes, not yet in a folder."""
    from airbench.sweep.axes import parse_axis, settings
    from airbench.sweep.folder import Sweep
    from airbench.sweep.tpe import require_optuna

    words = config.axis_words()
    axes = [parse_axis(word) for word in words]
    by_tpe = config.method == "tpe"
    if by_tpe:
        require_optuna()  # before anything is written
    return Sweep(
        path=Path(),
        settings=() if by_tpe else tuple(settings(axes, config.settings, config.seed)),
        trials=config.trials,
        seed=config.seed,
        top=config.top,
        again=config.again,
        on_test=config.on_test,
        axes=tuple(words),
        count=config.settings if by_tpe else None,
        prune=config.prune and not {"train.epochs", "train.batch_size"} & set(config.axes),
    )


def _print_plan(plan: "Sweep") -> int:
    from airbench.sweep.axes import label

    if plan.count is None:
        print("\n".join(label(setting) for setting in plan.settings))
    else:
        print("\n".join(plan.axes))
    print(f"{plan.count or len(plan.settings)} settings × {plan.trials} trials, then {plan.top} × {plan.again}")
    return 0


def _judged(config: "SweepConfig", options: argparse.Namespace) -> "LoadedRecipe":
    """Load the recipe, with images held out to judge on."""
    from airbench.experiment.held_out import holding_out, with_held_out

    recipes = read_recipes(options)
    if len(recipes) != 1:
        raise AirbenchError("a sweep varies one recipe; for several lengths: --axis train.epochs=4,8")
    (loaded,) = recipes
    return holding_out(loaded, None) if config.on_test else with_held_out(loaded, config.held_out)


def _telescope(config: "SweepConfig", options: argparse.Namespace) -> int:
    from airbench.sweep import telescope
    from airbench.sweep.config import as_word

    assert config.telescope is not None
    recipe = _judged(config, options)
    plan = telescope.Telescope(
        path=Path(),
        key=config.telescope.key,
        values=tuple(as_word(value) for value in config.telescope.values),
        axes=tuple(config.axis_words()),
        points=tuple(config.telescope.points),
        shrink=config.telescope.shrink,
        trials=config.trials,
        seed=config.seed,
        top=config.top,
        again=config.again,
        on_test=config.on_test,
    )
    if options.plan:
        from airbench.benchmark.cost import cost_of_trial

        costs = [cost_of_trial(each) for each in telescope.recipes(plan, recipe)]
        print("\n".join(telescope.plan_lines(plan, [(cost.pflop, cost.hours) for cost in costs])))
        return 0
    return _finish_telescope(telescope.create(options.out, recipe, plan), options)


def _say(text: str) -> None:
    print(text, flush=True)


def _finish(sweep: "Sweep", options: argparse.Namespace) -> int:
    from airbench.sweep.figure import FIGURE, draw
    from airbench.sweep.results import result_lines, write_best
    from airbench.sweep.search import search

    print(f"{sweep.count or len(sweep.settings)} settings → {sweep.path}", flush=True)
    try:
        sweep = search(sweep, _say, execution(options))
    except KeyboardInterrupt:
        print(f"go on with: airbench sweep --resume {sweep.path}", flush=True)
        raise
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
    try:
        levels = telescope.run(plan, _say, execution(options))
    except KeyboardInterrupt:
        print(f"go on with: airbench sweep --resume {plan.path}", flush=True)
        raise
    found = telescope.optima(plan, levels)
    telescope.write_optima(plan, found)
    draw_telescope(plan, levels, found)
    write_best(levels[-1])
    print()
    for line in (*result_lines(levels[-1], levels[:-1]), "", *telescope.drift_lines(plan, found)):
        print(line)
    print(f"its recipe: {levels[-1].path / 'best.yaml'}; figure: {plan.path / FIGURE}")
    return 0
