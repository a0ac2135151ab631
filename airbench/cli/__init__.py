"""The command line: arguments in, exit codes out.

Exit codes: 0 all is well, 1 a trial failed or the verdict is no, 2 something that the user can put right,
130 interrupted.
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
        options.items += rest  # overrides that stand behind an option: argparse leaves them over
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
    except BrokenPipeError:  # `airbench runs | head`; training goes on without a reader (see Terminal.say)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"airbench: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``airbench``; ``train.py`` uses its ``train`` command."""
    parser = argparse.ArgumentParser(
        prog="airbench", description="Timed CIFAR-10 training runs, and what can be concluded from them."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    train.add_commands(commands)
    analyze.add_commands(commands)
    study.add_commands(commands)
    benchmark.add_commands(commands)
    devices.add_commands(commands)
    gpu_check.add_commands(commands)
    return parser
