"""The command line: arguments in, exit codes out.

Exit codes: 0 all trials finished, 1 a trial failed, 2 something that the user can put right, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe, dump_recipe, load_recipe

_TRAIN_HELP = """\
Train recipes on one device, timed, and keep a run folder for each.

  python train.py configs/speedrun.yaml                        one trial
  python train.py configs/sgd.yaml --trials 3 --seed 0         three, with seeds 0, 1 and 2
  python train.py configs/speedrun.yaml train.epochs=6         any knob of the recipe, by its path
  python train.py A.yaml B.yaml --trials 3                     A B A B A B, then one table
  python train.py runs/<run>/recipe.yaml                       a run again
"""
_TRAIN_EPILOG = """\
A recipe is a YAML file; configs/recipe.schema.json explains every knob, and --print-recipe shows one with
all its defaults. Overrides (key.subkey=value, the value in YAML) apply to every recipe of the command.

What is timed: whitening, augmentation, training steps, the final evaluation with test-time augmentation.
What is not: reading data, initialisation, compilation, warm-up, evaluation after each epoch.

CIFAR-10 is downloaded by itself. Without internet, name a copy with --data or AIRBENCH_DATA, or train on
built-in images: configs/quickstart.yaml.
"""
_DATA_HELP = """\
Say which images a recipe would use, where they lie, and whether they are genuine.

  airbench data                           for recipes on CIFAR-10
  airbench data configs/quickstart.yaml   for that recipe
  airbench data --import cifar10.tgz      decode a local copy once; used wherever none is named
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        return code
    except AirbenchError as error:
        print(f"airbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("airbench: interrupted; finished trials are in the run folder", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``airbench``; ``train.py`` uses its ``train`` command."""
    parser = argparse.ArgumentParser(
        prog="airbench",
        description="Timed CIFAR-10 training runs: recipes in YAML, Muon and baselines.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    raw = argparse.RawDescriptionHelpFormatter

    train = commands.add_parser(
        "train", help="train recipes", description=_TRAIN_HELP, epilog=_TRAIN_EPILOG, formatter_class=raw
    )
    train.add_argument(
        "items", nargs="+", metavar="RECIPE | KEY=VALUE", help="recipe files, and overrides of their knobs"
    )
    train.add_argument("--trials", type=_positive, default=1, metavar="N", help="trainings of each recipe (default 1)")
    train.add_argument("--seed", type=_natural, default=0, metavar="S", help="trial i has seed S + i (default 0)")
    train.add_argument("--device", help="auto, cuda, cpu or mps; short for device=…")
    train.add_argument("--precision", help="auto, fp16, bf16 or fp32; short for precision=…")
    train.add_argument("--threads", help="threads on a cpu; short for threads=…")
    train.add_argument("--data", metavar="PATH", help="a local copy of CIFAR-10, an archive or a folder")
    train.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="where run folders go (default runs)"
    )
    train.add_argument(
        "--print-recipe", action="store_true", help="print the recipe, all defaults written out, and stop"
    )
    train.set_defaults(command=_train)

    data = commands.add_parser(
        "data",
        help="say which images would be used; import a copy",
        description=_DATA_HELP,
        formatter_class=raw,
    )
    data.add_argument("recipe", nargs="?", help="a recipe file (default: CIFAR-10)")
    data.add_argument("--data", metavar="PATH", help="a local copy of CIFAR-10, an archive or a folder")
    data.add_argument("--import", dest="import_path", type=Path, metavar="PATH", help="decode this copy into the cache")
    data.set_defaults(command=_data)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a number of at least 1")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: give a number of at least 0")
    return value


def _read_recipes(options: argparse.Namespace) -> list[LoadedRecipe]:
    overrides = [item for item in options.items if "=" in item and not Path(item).exists()]
    files = [item for item in options.items if item not in overrides]
    if not files:
        raise AirbenchError("no recipe is named; try: python train.py configs/speedrun.yaml")
    for key in ("device", "precision", "threads"):
        value = getattr(options, key)
        if value is not None:
            overrides.append(f"{key}={value}")
    if options.data is not None:
        overrides.append(f"data.path={_quoted(options.data)}")
    return [load_recipe(file, overrides) for file in files]


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"


def _train(options: argparse.Namespace) -> int:
    recipes = _read_recipes(options)
    if options.print_recipe:
        print("---\n".join(dump_recipe(each.recipe) for each in recipes), end="")
        return 0
    from airbench.experiment import run_experiment  # loads torch: not for --help or a mistyped key

    summaries = run_experiment(recipes, trials=options.trials, seed=options.seed, out=options.out)
    return 1 if any(summary["failed"] for summary in summaries) else 0


def _data(options: argparse.Namespace) -> int:
    from airbench.data import sources
    from airbench.data.cache import cache_folder
    from airbench.recipe.schema import Data

    if options.import_path is not None:
        dataset = sources.import_copy(options.import_path)
        print(f"{sources.genuineness(dataset)}\nimported into {sources.imported_file()}")
        return 0
    data = load_recipe(options.recipe).recipe.data if options.recipe else Data()
    if options.data is not None:
        data = data.model_copy(update={"path": options.data})
    origin = sources.find_origin(data)
    where = f" {origin.path}" if origin.path else ""
    print(f"images: {data.name}\nfrom:   {origin.kind}{where}\nas:     {origin.because}")
    dataset = sources.load_dataset(data)
    print(f"cache:  {cache_folder()}")
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        shape = "×".join(map(str, split.images.shape[1:]))
        print(f"{name + ':':<7} {len(split):,} images of {shape}, fingerprint {split.fingerprint}")
    print(sources.genuineness(dataset))
    return 0


if __name__ == "__main__":
    sys.exit(main())
