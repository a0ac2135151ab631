"""Commands that test one claim each."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.cli.arguments import natural, output_folder, positive
from airbench.errors import AirbenchError

if TYPE_CHECKING:
    from airbench.recipe import LoadedRecipe
    from airbench.studies.result import Study

_OUT = Path("runs/studies")
_HELP = """\
Small experiments that test one claim each, on built-in data, in a minute or two unless said otherwise. Each prints a
table and saves a figure (PNG) and its numbers (JSON).

  airbench study orthogonalize       error and time of each orthogonalisation method
  airbench study correlated-inputs   Muon against SGD with two highly correlated inputs
  airbench study spectra             is momentum nearly low rank? measured in a short training run
  airbench study operator            updates as maps on images, orthogonalised as flattened filters or as maps
  airbench study decay               Adam's weight decay depends on gradient scale, AdamW's does not
  airbench study muonclip            attention logits that grow under Muon, and QK-clip, which bounds them
  airbench study batch-size          examples and steps to an accuracy at many batch sizes (ten minutes)
"""
_BATCH_SIZE_HELP = """\
Train recipes until they reach an accuracy, at many batch sizes, each with the learning rate that is best there: does
an optimizer stay as efficient with large batches? All learning rates of a recipe are multiplied by one factor, found
by a search on held-out images; then trials with fresh seeds are reported.

  airbench study batch-size                   three optimizers on built-in images
  airbench study batch-size batch_size_muon my_recipe.yaml --batches 250,1000,4000
  airbench study batch-size data.name=cifar10 --batches 125,250,500,1000,2000 --trials 3            on CIFAR-10

Interrupted, it goes on where it was if it is started again: trials are kept in batch-size.trials.jsonl.
"""
_ORTHOGONALIZE_HELP = """\
Compare orthogonalisation methods: distance from the exact orthogonal factor, and time.

  airbench study orthogonalize --shape 64x576 --methods newton_schulz:5,newton_schulz:4:polar_express:aol,svd

A method is METHOD[:STEPS][:COEFFICIENTS][:NORMALIZATION][:DTYPE]: newton_schulz, inverse_sqrt, svd or none; muon,
hiverge, classical_quintic, classical_cubic or polar_express; frobenius, gram or aol; bfloat16, float16 or float32.
"""


def add_commands(commands: Any) -> None:
    """Add ``study`` and its subcommands."""
    raw = argparse.RawDescriptionHelpFormatter
    study = commands.add_parser("study", help="test one claim", description=_HELP, formatter_class=raw)
    studies = study.add_subparsers(metavar="STUDY", required=True)

    orthogonalize = studies.add_parser(
        "orthogonalize", help="accuracy and speed of methods", description=_ORTHOGONALIZE_HELP, formatter_class=raw
    )
    orthogonalize.add_argument("--shape", type=_shape, default=(256, 1024), metavar="MxN", help="default 256x1024")
    orthogonalize.add_argument("--methods", metavar="METHOD,…", help="default: seven methods")
    orthogonalize.add_argument("--seed", type=natural, default=42, help="seed of the matrix (default 42)")
    orthogonalize.set_defaults(command=_orthogonalize)

    inputs = studies.add_parser("correlated-inputs", help="Muon against SGD on a small regression")
    inputs.add_argument("--seed", type=natural, default=42, help="seed of the first trial (default 42)")
    inputs.add_argument("--trials", type=positive, default=20, metavar="N", help="trials per optimizer (default 20)")
    inputs.set_defaults(command=_correlated_inputs)

    spectra = studies.add_parser("spectra", help="singular values of the momentum during training")
    spectra.set_defaults(command=_spectra)
    operator = studies.add_parser("operator", help="singular values of the update as a map on images")
    operator.set_defaults(command=_operator)
    for parser in (spectra, operator):
        parser.add_argument(
            "items", nargs="*", metavar="RECIPE | KEY=VALUE",
            help="a recipe with Muon, and overrides (default: a short quickstart)",
        )  # fmt: skip
        parser.add_argument("--seed", type=natural, default=0, help="seed of the training run (default 0)")

    decay = studies.add_parser("decay", help="coupled against decoupled weight decay")
    decay.add_argument("--seed", type=natural, default=0, help="seed of the gradients' signs (default 0)")
    decay.set_defaults(command=_decay)

    muonclip = studies.add_parser("muonclip", help="attention logits with and without QK-clip")
    muonclip.add_argument(
        "items", nargs="*", metavar="RECIPE | KEY=VALUE",
        help="a recipe with qk_clip, and overrides (default: muonclip, small, on 500 built-in images)",
    )  # fmt: skip
    muonclip.add_argument("--seed", type=natural, default=0, help="seed of both trainings (default 0)")
    muonclip.set_defaults(command=_muonclip)

    batch = studies.add_parser(
        "batch-size", help="compute against time to an accuracy", description=_BATCH_SIZE_HELP, formatter_class=raw
    )
    batch.add_argument("items", nargs="*", metavar="RECIPE | KEY=VALUE", help="recipes to compare, and overrides")
    batch.add_argument(
        "--batches", type=_counts, default=BATCHES, metavar="B,B,…", help=f"default {','.join(map(str, BATCHES))}"
    )
    batch.add_argument("--trials", type=positive, default=2, metavar="N", help="reported trials (default 2)")
    batch.set_defaults(command=_batch_size)
    for parser in (orthogonalize, inputs, spectra, operator, decay, muonclip, batch):
        parser.add_argument(
            "--out", type=output_folder, default=_OUT, metavar="DIR", help=f"output folder (default {_OUT})"
        )


def _shape(text: str) -> tuple[int, int]:
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text}: give rows and columns, such as 256x1024")
    return int(parts[0]), int(parts[1])


def _counts(text: str) -> tuple[int, ...]:
    found = tuple(positive(part) for part in text.split(","))
    if len(set(found)) < max(2, len(found)):
        raise argparse.ArgumentTypeError(f"{text}: give two or more different batch sizes, such as 250,1000")
    return found


def _show(study: "Study", options: argparse.Namespace) -> int:
    print("\n".join(study.lines()))
    print("\nwritten: " + ", ".join(str(path) for path in study.save(options.out)))
    return 0


def _orthogonalize(options: argparse.Namespace) -> int:
    from airbench.studies.orthogonalize import METHODS, study_orthogonalize

    methods: Sequence[str] = METHODS if options.methods is None else options.methods.split(",")
    return _show(study_orthogonalize(options.shape, methods, options.seed), options)


def _correlated_inputs(options: argparse.Namespace) -> int:
    from airbench.studies.correlated_inputs import study_correlated_inputs

    return _show(study_correlated_inputs(options.seed, options.trials), options)


def _spectra(options: argparse.Namespace) -> int:
    from airbench.studies.spectra import study_spectra

    return _show(study_spectra(_recipe("spectra", options.items, "quickstart", SHORT), options.seed), options)


def _operator(options: argparse.Namespace) -> int:
    from airbench.studies.operator import study_operator

    return _show(study_operator(_recipe("operator", options.items, "quickstart", SHORT), options.seed), options)


def _recipe(study: str, items: Sequence[str], default: str, shortened: Sequence[str]) -> "LoadedRecipe":
    """Load the recipe that ``items`` name, with their overrides; without one, ``default``, ``shortened``."""
    from airbench.cli.recipes import split_items
    from airbench.recipe import load_recipe

    files, overrides = split_items(items)
    if len(files) > 1:
        raise AirbenchError(f"study {study} takes one recipe, not {len(files)}: {', '.join(files)}")
    return load_recipe(files[0], overrides) if files else load_recipe(default, [*shortened, *overrides])


SHORT = ("data.train_images=10000", "train.epochs=1", "evaluate.tta=[]")
"""Overrides that shorten the quickstart to 20 steps."""


BATCHES = (128, 512, 2048)
"""Batch sizes of the demonstration on built-in images."""

CONTENDERS = ("batch_size_muon", "batch_size_adamw", "batch_size_sgd")
"""Recipes that are compared unless others are named."""

DEMONSTRATION = ("data.name=shapes", "data.train_images=20000", "net.widths=[8,16,16]", "train.epochs=4", "target=0.4")
"""Overrides that make them take minutes, without a download."""


def _batch_size(options: argparse.Namespace) -> int:
    from airbench.cli.recipes import split_items
    from airbench.experiment.held_out import with_held_out
    from airbench.recipe import load_recipe
    from airbench.studies.batch_size import study_batch_size
    from airbench.studies.steps_to_target import StepsToTarget

    files, overrides = split_items(options.items)
    if not files and not any(word.startswith("data.name=") for word in overrides):
        overrides = [*DEMONSTRATION, *overrides]
    recipes = [with_held_out(load_recipe(file, overrides)) for file in files or CONTENDERS]
    measure = StepsToTarget(recipes[0].recipe.target, options.out / "batch-size.trials.jsonl")
    study = study_batch_size(
        recipes, options.batches, measure, trials=options.trials, say=lambda text: print(text, flush=True)
    )
    print()
    return _show(study, options)


def _decay(options: argparse.Namespace) -> int:
    from airbench.studies.decay import study_decay

    return _show(study_decay(options.seed), options)


def _muonclip(options: argparse.Namespace) -> int:
    from airbench.studies.muonclip import study_muonclip

    return _show(study_muonclip(_recipe("muonclip", options.items, "muonclip", MEMORISED), options.seed), options)


MEMORISED = (
    "data.name=shapes", "data.train_images=500", "data.augment={}", "train.batch_size=100", "train.epochs=80",
    "net.patch=8", "net.width=64", "net.depth=2", "net.heads=2", "engine.compile=none",
)  # fmt: skip
"""Overrides that make of muonclip 400 steps of a small net, on images so few that it can learn them by heart."""
