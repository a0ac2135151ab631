"""The command for the owner of a GPU."""

import argparse
from pathlib import Path
from typing import Any

from airbench.cli.train import positive

_HELP = """\
On a machine with a GPU: is everything right, and as fast as it should be? Tests against the CPU, a profile, a
benchmark, and trials of three recipes with steps eager, captured as a CUDA graph, compiled, and both, in turn. About
ten minutes on an A100. A check that fails does not stop the others. The page index.html in the folder says what
passed and what was slower than expected.

  airbench gpu-check
  airbench gpu-check --peer ~/airbench94_muon.py      a script of your own, timed beside ours
"""


def add_commands(commands: Any) -> None:
    """Add ``gpu-check``."""
    check = commands.add_parser(
        "gpu-check", help="check a GPU", description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    check.add_argument("items", nargs="*", metavar="KEY=VALUE", help="overrides of the recipes' settings")
    check.add_argument("--out", type=Path, default=Path("runs/gpu-check"), metavar="DIR", help="where results go")
    check.add_argument("--device", default="cuda", help="cuda, or cuda:1 for the second (default cuda)")
    check.add_argument("--trials", type=positive, default=2, metavar="N", help="trials of each recipe (default 2)")
    check.add_argument("--recipes", help="recipes of configs/, with commas (default: three of them)")
    check.add_argument("--data", metavar="PATH", help="a local copy of CIFAR-10, an archive or a folder")
    check.add_argument("--peer", type=Path, metavar="FILE.py", help="a training script to be timed beside ours")
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    from airbench.benchmark.gpu_check import Options, run_checks
    from airbench.benchmark.gpu_check.check import RECIPES
    from airbench.device import choose_machine
    from airbench.recipe.engine import Engine

    choose_machine(Engine(device=options.device))  # says so if there is none
    data = () if options.data is None else (f"--data={options.data}",)
    outcomes = run_checks(
        Options(
            out=options.out,
            configs=Path("configs"),
            device=options.device,
            trials=options.trials,
            peer=options.peer,
            overrides=(*data, *options.items),
            recipes=tuple(options.recipes.split(",")) if options.recipes else RECIPES,
        ),
        lambda line: print(line, flush=True),
    )
    return 0 if all(outcome.passed for outcome in outcomes) else 1
