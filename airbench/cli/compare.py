"""Compare runs, or train recipes and compare them."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airbench.cli.arguments import RUNS, add_execution, add_overrides, execution, given, natural, positive, share
from airbench.cli.recipes import read_recipes, split_items
from airbench.cli.train import exit_code
from airbench.errors import AirbenchError, nearest
from airbench.recipe import LoadedRecipe
from airbench.recipe.shipped import find_shipped, shipped_recipes
from airbench.runs import RunRecord, read_run
from airbench.text import say

_COMPARE_HELP = """\
Compare runs pairwise: difference in accuracy and ratio of times, with intervals. Given recipes, train them first,
with interleaved trials. A difference in accuracy is claimed if its interval excludes 0, that is, if p < 0.05: both
come from Welch's t-test (with --paired, the paired t-test) with Bonferroni's correction for the number of comparisons.

  airbench compare runs/<a> runs/<b>
  airbench compare airbench94_muon airbench94 --trials 5
"""
_TARGET_HELP = """\
Estimate after how many epochs and seconds a recipe's mean accuracy crosses the target.

  airbench time-to-target speedrun --epochs 4,6,8,10 --trials 3
  airbench time-to-target runs/<4 epochs> runs/<6 epochs> runs/<8 epochs>
"""
_VARIANCE_HELP = """\
Estimate how much of the variance of accuracy is due to initialisation, data order and augmentation: train a recipe
with all seeds varying, and with each of the three held fixed in turn, with interleaved trials.

  airbench variance quickstart --trials 10
  airbench variance runs/<all vary> runs/<init fixed> …
"""


def add_commands(commands: Any) -> None:
    """Add ``compare``, ``power``, ``time-to-target`` and ``variance``."""
    raw = argparse.RawDescriptionHelpFormatter

    compare = commands.add_parser(
        "compare", help="compare runs or recipes", description=_COMPARE_HELP, formatter_class=raw
    )
    _add_training(compare)
    compare.add_argument(
        "--paired", action="store_true", help="pair trials of the same seed (decide before seeing results)"
    )
    compare.set_defaults(command=_compare)

    power = commands.add_parser("power", help="number of trials needed to detect a difference")
    power.add_argument(
        "--difference", type=share, required=True, help="difference in accuracy to detect: 0.001 is 0.1%%"
    )
    power.add_argument("--std", type=share, required=True, help="standard deviation of accuracy between trials")
    power.add_argument("--power", type=share, default=0.8, help="probability of detecting it (default 0.8)")
    power.add_argument("--alpha", type=share, default=0.05, help="probability of a false positive (default 0.05)")
    power.set_defaults(command=_power)

    target = commands.add_parser(
        "time-to-target",
        help="epochs and seconds needed to reach the target",
        description=_TARGET_HELP,
        formatter_class=raw,
    )
    _add_training(target)
    target.add_argument("--target", type=share, help="mean accuracy to reach (default: the recipe's target)")
    target.set_defaults(command=_time_to_target)

    variance = commands.add_parser(
        "variance", help="sources of the variance of accuracy", description=_VARIANCE_HELP, formatter_class=raw
    )
    _add_training(variance)
    variance.set_defaults(command=_variance)


_DEFAULTS = {"trials": 3, "seed": 0, "out": RUNS}
"""Of options that only recipes take: left unset by the parser, so that they can be told from those given with runs."""
_OF_TRAINING = (
    *_DEFAULTS, "epochs", "device", "precision", "threads", "save", "data", "plugin", "ray", "ray_threads", "isolate",
    "tensorboard",
)  # fmt: skip


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("items", nargs="+", metavar="RUN | RECIPE | KEY=VALUE", help="run folders, or recipes to train")
    parser.add_argument("--trials", type=positive, metavar="N", help="trials per recipe (default 3)")
    parser.add_argument("--seed", type=natural, metavar="S", help="trial i has seed S + i (default 0)")
    add_overrides(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where run folders go (default runs)")
    add_execution(parser)


def _named_runs(options: argparse.Namespace) -> list[RunRecord] | None:
    """Read the named runs; None if recipes are named instead. Raises AirbenchError for a mix, or for neither."""
    paths = [Path(item) for item in split_items(options.items)[0]]
    for path in paths:
        if not path.exists() and find_shipped(str(path)) is None:
            near = nearest(path.stem, shipped_recipes())
            hint = f"did you mean {near}?" if near else "airbench runs lists runs"
            raise AirbenchError(f"{path}: no such run or recipe; {hint}")
    if not any(path.is_dir() for path in paths):
        for key, default in _DEFAULTS.items():
            if getattr(options, key) is None:
                setattr(options, key, default)
        return None
    if not all(path.is_dir() for path in paths):
        raise AirbenchError("name runs or recipes, not both")
    superfluous = split_items(options.items)[1] + given(options, _OF_TRAINING)
    if superfluous:
        raise AirbenchError(f"{', '.join(superfluous)}: for recipes that are trained, and these are runs; leave it out")
    return [read_run(path) for path in paths]


def _train(options: argparse.Namespace, recipes: Sequence[LoadedRecipe], seed: int | Sequence[int]) -> list[RunRecord]:
    from airbench.experiment.run import run_experiment

    records = run_experiment(recipes, trials=options.trials, seed=seed, out=options.out, options=execution(options))
    print()
    return records


def _compare(options: argparse.Namespace) -> int:
    from airbench.analysis.compare import compare_runs, comparison_lines, warnings

    runs = _named_runs(options)
    trained = runs is None
    if runs is None:
        recipes = read_recipes(options)
        if len(recipes) < 2:
            raise AirbenchError("name two or more recipes to compare")
        _refuse_same(recipes)
        _refuse_other_images(recipes)
        runs = _train(options, recipes, options.seed)
    comparisons = compare_runs(runs, by_seed=options.paired)
    for line in warnings(runs):
        print(line, file=sys.stderr)
    for comparison in comparisons:
        say(*comparison_lines(comparison))
    return exit_code(runs) if trained else 0


def _refuse_same(recipes: Sequence[LoadedRecipe]) -> None:
    """Raise AirbenchError if two recipes would train the same trials, before they are trained."""
    known: list[tuple[str, object]] = []
    for each in recipes:
        what = each.recipe.model_dump(exclude={"name": True, "description": True, "target": True, "data": {"path"}})
        other = next((name for name, recipe in known if recipe == what), None)
        if other is not None:
            raise AirbenchError(
                f"{other} and {each.recipe.name} are the same recipe: with the same seeds their trials are equal to "
                "the last bit; change a setting of one"
            )
        known.append((each.recipe.name, what))


def _refuse_other_images(recipes: Sequence[LoadedRecipe]) -> None:
    """Raise AirbenchError if two recipes would be evaluated on different images, before they are trained."""
    first = recipes[0].recipe
    for other in (each.recipe for each in recipes[1:]):
        for key in ("name", "held_out"):
            mine, its = getattr(first.data, key), getattr(other.data, key)
            if mine != its:
                raise AirbenchError(
                    f"{first.name} has data.{key} = {mine} and {other.name} {its}: evaluated on different images, they "
                    f"could not be compared; set data.{key} for both"
                )


def _power(options: argparse.Namespace) -> int:
    from airbench.analysis.statistics import trials_needed

    try:
        n = trials_needed(options.difference, options.std, options.power, options.alpha)
    except ValueError as error:
        raise AirbenchError(f"--difference {options.difference:g}, --std {options.std:g}: {error}") from None
    say(
        f"{n} trials of each recipe detect a true difference of {options.difference:.3%} with probability "
        f"{options.power * 100:g}% (std {options.std:.3%}, two-sided Welch's t-test, alpha {options.alpha:g})"
    )
    return 0


def _time_to_target(options: argparse.Namespace) -> int:
    from airbench.analysis.experiments import pooling_note
    from airbench.analysis.time_to_target import collect_lengths, crossing_lines, time_to_target

    runs = _named_runs(options)
    trained = runs is None
    if runs is not None:
        target = options.target if options.target is not None else runs[0].target
        if options.target is None and len({run.target for run in runs}) > 1:
            raise AirbenchError("the runs have several targets; say which with --target")
    else:
        recipes = read_recipes(options)
        target = options.target if options.target is not None else recipes[0].recipe.target
        lengths = [each.recipe.train.epochs for each in recipes]
        if len(split_items(options.items)[0]) != 1 or len(set(lengths)) < 2:
            raise AirbenchError("name one recipe and two or more lengths, such as --epochs 4,6,8")
    if target is None:
        raise AirbenchError("the recipe has no target; give one with --target")
    if runs is None:
        runs = _train(options, recipes, options.seed)
    found = collect_lengths(runs)
    say(*crossing_lines(found, target, time_to_target(found, target)), *pooling_note(runs))
    return exit_code(runs) if trained else 0


def _variance(options: argparse.Namespace) -> int:
    from airbench.analysis.experiments import pooling_note
    from airbench.analysis.variance import STREAMS, fixed_stream, variance_lines, variance_sources

    runs = _named_runs(options)
    trained = runs is None
    if runs is None:
        runs = _train_variance(options, STREAMS)
    failed = sum(len(run.failed) for run in runs if fixed_stream(run) is None)
    say(*variance_lines(*variance_sources(runs), failed), *pooling_note(runs))
    return exit_code(runs) if trained else 0


def _train_variance(options: argparse.Namespace, streams: Sequence[str]) -> list[RunRecord]:
    """Train a recipe with all seeds varying and with each stream held fixed; no two runs share a seed."""
    recipes = read_recipes(options)
    if len(recipes) != 1 or options.trials < 2:
        raise AirbenchError("name one recipe with one length, and two or more trials")
    (recipe,) = recipes
    if any(seed is not None for seed in recipe.recipe.seeds.model_dump().values()):
        raise AirbenchError(f"{recipe.path}: holds seeds fixed; remove its seeds section")
    for stream in streams:
        extra = [f"seeds.{stream}={options.seed}", f"name={recipe.recipe.name}-{stream}-fixed"]
        recipes += read_recipes(argparse.Namespace(**{**vars(options), "items": [*options.items, *extra]}))
    return _train(options, recipes, [options.seed + i * options.trials for i in range(len(recipes))])
