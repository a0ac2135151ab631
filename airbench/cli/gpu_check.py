"""The command that checks a GPU."""

import argparse
import re
from pathlib import Path
from typing import Any

from airbench.cli.arguments import output_folder, positive

_HELP = """\
Check that everything works on this machine's GPU, and as fast as it should: tests against the CPU, a profile, a
benchmark, and interleaved trials of three recipes with steps eager, captured as a CUDA graph, compiled, and both.
Takes some minutes. A failing check does not stop the others. index.html in the output folder shows
what passed and what was slower than expected.

  airbench gpu-check
  airbench gpu-check --peer ~/airbench94_muon.py      also time a script of your own
"""


def add_commands(commands: Any) -> None:
    """Add ``gpu-check``."""
    check = commands.add_parser(
        "gpu-check", help="check a GPU", description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    check.add_argument("items", nargs="*", metavar="KEY=VALUE", help="overrides of the recipes' settings")
    check.add_argument(
        "--out", type=output_folder, default=Path("runs/gpu-check"), metavar="DIR",
        help="where results go (default runs/gpu-check)",
    )  # fmt: skip
    check.add_argument("--device", default="cuda", type=_gpu, help="cuda, or cuda:1 for the second (default cuda)")
    check.add_argument("--trials", type=positive, default=2, metavar="N", help="trials per recipe (default 2)")
    check.add_argument("--recipes", help="recipes in configs/, comma-separated (default: three)")
    check.add_argument("--data", metavar="PATH", help="a local copy of CIFAR-10, an archive or a folder")
    check.add_argument("--peer", type=Path, metavar="FILE.py", help="a training script to time for comparison")
    check.set_defaults(command=_check)


def _gpu(text: str) -> str:
    """Parse the name of a GPU."""
    if not re.fullmatch(r"cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text}: give cuda, or cuda:1 for the second")
    return text


def _check(options: argparse.Namespace) -> int:
    from airbench.benchmark.gpu_check import Options, run_checks
    from airbench.benchmark.gpu_check.check import RECIPES
    from airbench.device import choose_machine
    from airbench.recipe.engine import Engine

    choose_machine(Engine(device=options.device))  # raises DeviceError if there is none
    data = () if options.data is None else (f"--data={options.data}",)
    outcomes = run_checks(
        Options(
            out=options.out,
            device=options.device,
            trials=options.trials,
            peer=options.peer,
            overrides=(*data, *options.items),
            recipes=tuple(options.recipes.split(",")) if options.recipes else RECIPES,
        ),
        lambda line: print(line, flush=True),
    )
    return 0 if all(outcome.passed for outcome in outcomes) else 1
