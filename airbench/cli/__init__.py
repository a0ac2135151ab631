"""The command line.

Exit codes: 0 success, 1 a trial failed or the verdict is negative, 2 an error that the user can fix, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from airbench.cli import analyze, benchmark, devices, gpu_check, study, train
from airbench.errors import AirbenchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    if all("=" in word and not word.startswith("-") for word in rest) and hasattr(options, "items"):
        options.items += rest  # overrides after an option, which argparse does not assign to items
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        code: int = options.command(options)
        return code
    except AirbenchError as error:
        print(f"airbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("airbench: interrupted; finished trials are in the run folder", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `airbench runs | head`; training continues without a reader (see Terminal.say)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"airbench: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of ``airbench``; ``train.py`` uses its ``train`` command."""
    parser = argparse.ArgumentParser(
        prog="airbench", description="Timed CIFAR-10 training runs, and statistics on them."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    train.add_commands(commands)
    analyze.add_commands(commands)
    study.add_commands(commands)
    benchmark.add_commands(commands)
    devices.add_commands(commands)
    gpu_check.add_commands(commands)
    return parser
