"""Commands that train recipes or manage their images."""

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.cli.explain import first_sentence, head_lines, result_lines
from airbench.cli.vary import load_varied
from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe, dump_recipe, load_recipe, load_recipes
from airbench.recipe.load import data_override
from airbench.recipe.plugins import load_plugin
from airbench.recipe.shipped import configs_folder, shipped_recipes
from airbench.runs import SUMMARY

if TYPE_CHECKING:
    from airbench.experiment.run import Options
    from airbench.runs import RunRecord

_TRAIN_HELP = """\
Train recipes on one device, timed, and keep a run folder for each.

  airbench train speedrun                       one trial
  airbench train airbench94 --trials 3 --seed 0 three trials, seeds 0, 1 and 2
  airbench train speedrun train.epochs=6        override any setting by its path
  airbench train speedrun train.epochs=[4,6,8]  the same recipe at three lengths
  airbench train speedrun --vary KEY=a,b,c      the same recipe at several values of a setting, interleaved
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
data or machine have changed.
"""
_DATA_HELP = """\
Show which images a recipe would use, where they are, and whether they are genuine.

  airbench data                           for recipes that use CIFAR-10
  airbench data quickstart                for that recipe
  airbench data --import cifar10.tgz      decode a local copy into the cache, the default source
  airbench data cifar100.yaml --import cifar-100-python.tar.gz
"""


def add_commands(commands: Any) -> None:
    """Add ``train``, ``resume`` and ``data``."""
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
    train.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="where run folders go (default runs)"
    )
    train.add_argument("--explain", action="store_true", help="say what is trained, how to read it and what to do next")
    train.add_argument("--print-recipe", action="store_true", help="print the recipe with all its defaults and exit")
    train.add_argument("--vary", metavar="KEY=A,B", help="train each recipe at these values of a setting, interleaved")
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

    data = commands.add_parser(
        "data", help="show which images would be used; import a copy", description=_DATA_HELP, formatter_class=raw
    )
    data.add_argument("recipe", nargs="?", help="a recipe file (default: CIFAR-10)")
    data.add_argument("--data", metavar="PATH", help="a local copy of the images, an archive or a folder")
    data.add_argument("--import", dest="import_path", type=Path, metavar="PATH", help="decode this copy into the cache")
    add_plugins(data)
    data.set_defaults(command=_data)

    recipes = commands.add_parser(
        "recipes", help="list the shipped recipes", description="List the shipped recipes, and where their files are."
    )
    recipes.set_defaults(command=lambda options: _list_recipes())


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add options of how trials are executed."""
    parser.add_argument("--tensorboard", action="store_true", help="also write scalars for TensorBoard")
    parser.add_argument("--isolate", action="store_true", help="train each trial in its own process")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        type=ray_address,
        metavar="ADDRESS",
        help="train on all GPUs of this machine at once, or on a running Ray cluster (host:port, or auto)",
    )
    parser.add_argument("--ray-threads", type=positive, metavar="N", help="with --ray on CPUs: N threads a trial")


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add options that are shorthands for overrides of the recipe."""
    parser.add_argument("--epochs", metavar="E[,E…]", help="one length or several; short for train.epochs=[…]")
    parser.add_argument("--device", help="auto, cuda, cuda:1, cpu or mps; short for engine.device=…")
    parser.add_argument("--precision", help="auto, fp16, bf16 or fp32; short for engine.precision=…")
    parser.add_argument("--save", help="weights, predictions or both; short for engine.save=…")
    parser.add_argument("--threads", help="threads on a CPU; short for engine.threads=…")
    parser.add_argument("--data", metavar="PATH", help="a local copy of the images, an archive or a folder")
    add_plugins(parser)


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """Add ``--plugin``."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE.py",
        help="a Python file that adds your own components",
    )


def load_plugins(options: argparse.Namespace) -> None:
    """Load the files given with ``--plugin``."""
    for plugin in options.plugin:
        load_plugin(plugin)


def ray_address(text: str) -> str:
    """Parse the address of a Ray cluster."""
    if text in ("local", "auto") or re.fullmatch(r"(ray://)?[\w.-]+:\d+|\[[\da-fA-F:]+\]:\d+", text):
        return text
    raise argparse.ArgumentTypeError(f"{text}: give host:port, auto or local, or write --ray after everything else")


def positive(text: str) -> int:
    """Parse an integer from 1 to a million."""
    value = _integer(text)
    if value is None or not 1 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text}: give an integer from 1 to 1000000, in digits")
    return value


def natural(text: str) -> int:
    """Parse an integer of at least 0."""
    value = _integer(text)
    if value is None or not 0 <= value < 2**62:
        raise argparse.ArgumentTypeError(f"{text}: give an integer from 0 to 2^62 - 1, in digits")
    return value


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def split_items(items: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split items into files or folders, and overrides (items with a ``=`` that are not files)."""
    overrides = [item for item in items if "=" in item and not os.path.exists(item)]
    return [item for item in items if item not in overrides], overrides


def read_recipes(options: argparse.Namespace) -> list[LoadedRecipe]:
    """Load the recipes in ``options.items``, with the overrides in it applied. Raises AirbenchError."""
    files, overrides = split_items(options.items)
    load_plugins(options)
    if not files:
        raise AirbenchError("no recipe given; try: airbench train speedrun")
    for key in ("device", "precision", "threads", "save"):
        value = getattr(options, key)
        if value is not None:
            overrides.append(f"engine.{key}={value}")
    if getattr(options, "ray_threads", None) is not None:
        overrides.append(f"engine.threads={options.ray_threads}")  # recorded, so that other executors use as many
    if options.epochs is not None:
        overrides.append(
            f"train.epochs=[{options.epochs}]" if "," in options.epochs else f"train.epochs={options.epochs}"
        )
    if options.data is not None:
        overrides.append(data_override(options.data))
    vary = getattr(options, "vary", None)
    if vary is not None:
        return [loaded for file in files for loaded in load_varied(file, overrides, vary)]
    return [loaded for file in files for loaded in load_recipes(file, overrides)]


def _train(options: argparse.Namespace) -> int:
    if options.resume:
        fixed = ("items", "trials", "seed", "vary", "epochs", "device", "precision", "threads", "save")
        if any(getattr(options, name) not in (None, []) for name in fixed):
            raise AirbenchError(
                "--resume takes recipe, trials and seed from the run; combine it only with --data and --force"
            )
        return _resume(options.resume, options)
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
        for line in lines:
            print(line, flush=True)
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(runs: "list[RunRecord]") -> int:
    """Return 1 if a trial failed or is missing, or a summary could not be written, else 0."""
    whole = all((run.path / SUMMARY).is_file() and not run.failed and not run.missing for run in runs)
    return 0 if whole else 1


def execution(options: argparse.Namespace) -> "Options":
    """Return how ``options`` say that trials are executed."""
    from airbench.experiment.cluster.connect import Cluster
    from airbench.experiment.executors import ProcessExecutor
    from airbench.experiment.run import Options
    from airbench.experiment.tensorboard import TensorBoard

    if options.ray is None and options.ray_threads is not None:
        raise AirbenchError("--ray-threads has no effect without --ray; use --threads")
    if options.ray is not None and options.isolate:
        raise AirbenchError("--ray and --isolate both say where trials are trained; give one of them")
    return Options(
        executor=ProcessExecutor() if options.isolate else None,
        tensorboard=TensorBoard() if options.tensorboard else None,
        cluster=None if options.ray is None else Cluster(options.ray, options.ray_threads),
    )


def _list_recipes() -> int:
    folder, heading = configs_folder(), ""
    width = max(map(len, shipped_recipes()))
    for name, file in shipped_recipes().items():
        if (kind := file.parent.relative_to(folder).as_posix()) != heading:
            heading = kind
            print(f"\n{heading}/")
        sentence = textwrap.shorten(first_sentence(load_recipe(file).recipe.description), 110, placeholder=" …")
        print(f"  {name:<{width}}  {sentence}")
    print(f"\nTheir files are in {folder}")
    return 0


def _data(options: argparse.Namespace) -> int:
    from airbench.data import sources
    from airbench.data.cache import cache_folder
    from airbench.recipe.data import DATASETS, Data

    load_plugins(options)
    overrides = [] if options.data is None else [data_override(options.data)]
    data = load_recipe(options.recipe, overrides).recipe.data if options.recipe else Data(path=options.data)
    if options.import_path is not None:
        spec = DATASETS[data.name]
        dataset = sources.import_copy(spec, options.import_path)
        print(f"{sources.genuineness(dataset)}\nimported into {sources.imported_file(spec)}")
        return 0
    origin = sources.find_origin(data)
    where = f" {origin.path}" if origin.path else ""
    print(f"images: {data.name}\nfrom:   {origin.kind}{where}\nas:     {origin.because}")
    dataset = sources.load_dataset(data)
    print(f"cache:  {cache_folder() or 'none'}")
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        shape = "×".join(map(str, split.images.shape[1:]))
        print(f"{name + ':':<7} {len(split):,} images of {shape}, fingerprint {split.fingerprint}")
    print(sources.genuineness(dataset))
    return 0
