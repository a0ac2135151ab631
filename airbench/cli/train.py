"""Commands that train recipes, and go on with interrupted runs."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.cli.arguments import (
    RUNS,
    add_execution,
    add_overrides,
    add_plugins,
    execution,
    given,
    load_plugins,
    natural,
    positive,
)
from airbench.cli.explain import head_lines, result_lines
from airbench.cli.recipes import read_recipes
from airbench.errors import AirbenchError
from airbench.recipe import dump_recipe
from airbench.runs import SUMMARY
from airbench.text import say

if TYPE_CHECKING:
    from airbench.runs import RunRecord

_TRAIN_HELP = """\
Train recipes on one device, timed, and keep a run folder for each.

  airbench train speedrun                       one trial
  airbench train airbench94 --trials 3 --seed 0 three trials, seeds 0, 1 and 2
  airbench train speedrun train.epochs=6        override any setting by its path
  airbench train speedrun train.epochs=[4,6,8]  the same recipe at three lengths
  airbench train speedrun --vary KEY=a,b,c      the same recipe at several values of a setting, interleaved
  airbench train speedrun --vary A=1,2 --vary B=3,4   at every combination
  airbench train A.yaml B.yaml --trials 3       interleaved: A B A B A B
  airbench train runs/<run>/recipe.yaml         repeat a run
  airbench train --resume runs/<run>            train the missing trials of a run
"""
_TRAIN_EPILOG = """\
A recipe is a YAML file, or the name of a shipped one (airbench recipes lists them). configs/recipe.schema.json
documents every setting, and --print-recipe shows a recipe with all its defaults. Overrides (key.subkey=value, the
value in YAML) apply to every recipe of the command.

Timed: whitening, augmentation, training steps, the final evaluation with test-time augmentation.
Not timed: reading data, initialisation, compilation, warm-up, evaluation after each epoch.

CIFAR-10 is downloaded automatically. Without internet access, give a local copy with --data or AIRBENCH_DATA, or
train on built-in images: airbench train quickstart.
"""
_RESUME_HELP = """\
Resume interrupted runs: train only the missing trials, with the seeds they would have had. Refused if recipe, code,
data or machine have changed since the first trial.
"""


def add_commands(commands: Any) -> None:
    """Add ``train`` and ``resume``."""
    raw = argparse.RawDescriptionHelpFormatter
    train = commands.add_parser(
        "train", help="train recipes", description=_TRAIN_HELP, epilog=_TRAIN_EPILOG, formatter_class=raw
    )
    train.add_argument(
        "items", nargs="*", metavar="RECIPE | KEY=VALUE", help="recipe files or names, and overrides of their settings"
    )
    train.add_argument("--trials", type=positive, metavar="N", help="trials per recipe (default 1)")
    train.add_argument("--seed", type=natural, metavar="S", help="trial i has seed S + i (default 0)")
    add_overrides(train)
    train.add_argument("--out", type=Path, default=RUNS, metavar="DIR", help="where run folders go (default runs)")
    train.add_argument("--explain", action="store_true", help="say what is trained, how to read it and what to do next")
    train.add_argument("--print-recipe", action="store_true", help="print the recipe with all its defaults and exit")
    train.add_argument(
        "--vary",
        action="append",
        metavar="KEY=A,B",
        help="train each recipe at these values of a setting, interleaved; given again: at every combination",
    )
    train.add_argument("--resume", type=Path, nargs="+", metavar="RUN", help="resume runs: see airbench resume")
    train.add_argument("--force", action="store_true", help="with --resume: even if code or machine have changed")
    add_execution(train)
    train.set_defaults(command=_train)

    resume = commands.add_parser(
        "resume", help="resume an interrupted run", description=_RESUME_HELP, formatter_class=raw
    )
    resume.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders; several are interleaved")
    resume.add_argument("--data", metavar="PATH", help="current path of the local copy of the images")
    resume.add_argument("--force", action="store_true", help="even if code or machine have changed; this is recorded")
    add_plugins(resume)
    add_execution(resume)
    resume.set_defaults(command=lambda options: _resume(options.runs, options))


def _train(options: argparse.Namespace) -> int:
    if options.resume:
        fixed = ("items", "trials", "seed", "vary", "epochs", "device", "precision", "threads", "save", "print_recipe")
        if given(options, fixed) or options.out != RUNS:
            raise AirbenchError(
                "--resume takes recipe, trials and seed from the run; combine it only with --data, --force, "
                "--plugin and how trials are executed: --ray, --ray-threads, --isolate, --tensorboard"
            )
        return _resume(options.resume, options)
    if options.force:
        raise AirbenchError("--force belongs to --resume")
    recipes = read_recipes(options)
    if options.print_recipe:
        print("---\n".join(dump_recipe(each.recipe) for each in recipes), end="")
        return 0
    from airbench.experiment.run import run_experiment  # loads torch, which --help and a mistyped key need not wait for

    trials, seed = options.trials or 1, options.seed or 0
    _say(head_lines(recipes, trials, seed) if options.explain else ())
    runs = run_experiment(recipes, trials=trials, seed=seed, out=options.out, options=execution(options))
    _say(result_lines(runs, explain=options.explain))
    return exit_code(runs)


def _resume(runs: list[Path], options: argparse.Namespace) -> int:
    load_plugins(options)
    from airbench.experiment.run import resume_experiment

    records = resume_experiment(runs, force=options.force, data=options.data, options=execution(options))
    _say(result_lines(records, explain=getattr(options, "explain", False)))
    return exit_code(records)


def _say(lines: Sequence[str]) -> None:
    """Print lines. That the reader is gone (``… | head``) changes nothing: what was trained is in the run folders."""
    try:
        say(*lines)
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(runs: "list[RunRecord]") -> int:
    """Return 1 if a trial failed or is missing, or a summary could not be written, else 0."""
    whole = all((run.path / SUMMARY).is_file() and not run.failed and not run.missing for run in runs)
    return 0 if whole else 1
