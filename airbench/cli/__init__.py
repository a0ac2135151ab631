"""The command line.

Exit codes: 0 success, 1 a trial failed or the verdict is no, 2 an error that the user can fix, 70 a fault of
the program, 128 + n ended by signal n (130: Ctrl-C).
"""

import argparse
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from airbench import signals
from airbench.cli import (
    benchmark,
    compare,
    data,
    devices,
    fill,
    gpu_check,
    predict,
    recipes,
    report,
    runs,
    study,
    sweep,
    train,
)
from airbench.cli.arguments import Parser, shortened
from airbench.cli.version import Version
from airbench.errors import OUT_OF_MEMORY, AirbenchError, is_out_of_memory
from airbench.recipe.plugins import place_in_plugin, told
from airbench.runs.files import UnsavedTrialError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    _prepare_process()
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    late = next((name for name in ("items", "runs", "pages") if hasattr(options, name)), None)
    if late and rest and not any(word.startswith("-") for word in rest):  # after an option argparse assigns no words
        setattr(options, late, [*getattr(options, late), *(rest if late == "items" else map(Path, rest))])
    elif rest:
        options.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        with signals.answered():
            code: int = options.command(options)
        return code
    except AirbenchError as error:
        text = " ".join(str(error).splitlines())
        print("airbench:", text if isinstance(error, UnsavedTrialError) else shortened(text), file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, signals.Interrupted) else signal.SIGINT
        print(f"airbench: interrupted ({number.name}); the trials that a run folder holds are safe", file=sys.stderr)
        return 128 + number
    except BrokenPipeError:  # `airbench runs | head`; training continues without a reader (see Terminal.say)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"airbench: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except Exception as error:
        return _last_resort(error)


def _prepare_process() -> None:
    """Keep what is cosmetic from killing work: a missing or odd stream, a backend inherited from a notebook."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # a service, pythonw, 2>&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the whole process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an arrow that the encoding lacks becomes a question mark
    os.environ.pop("MPLBACKEND", None)  # figures are drawn without one


def _last_resort(error: Exception) -> int:
    """Say what cannot be helped in one line, with the traceback in a file for the report of the fault."""
    if is_out_of_memory(error):
        print(f"airbench: {OUT_OF_MEMORY}", file=sys.stderr)
        return 2
    with tempfile.NamedTemporaryFile(
        "w", prefix="airbench-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
    ) as file:
        traceback.print_exc(file=file)
    if place_in_plugin(error) is not None:
        print(f"airbench: {told(error)}; the traceback is in {file.name}", file=sys.stderr)
        return 2
    print(f"airbench: a fault of the program ({told(error)}); details are in {file.name}", file=sys.stderr)
    return 70


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of ``airbench``; ``train.py`` uses its ``train`` command."""
    parser = Parser(prog="airbench", description="Timed CIFAR-10 training runs, and statistics on them.")
    parser.add_argument(
        "--version", action=Version, nargs=0, default=argparse.SUPPRESS, help="version, code, PyTorch, kernels"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    train.add_commands(commands)
    data.add_commands(commands)
    recipes.add_commands(commands)
    predict.add_commands(commands)
    sweep.add_commands(commands)
    runs.add_commands(commands)
    compare.add_commands(commands)
    fill.add_commands(commands)
    report.add_commands(commands)
    study.add_commands(commands)
    benchmark.add_commands(commands)
    devices.add_commands(commands)
    gpu_check.add_commands(commands)
    return parser
