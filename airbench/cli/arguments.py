"""Arguments that several commands share: their types, and options of how trials are trained."""

import argparse
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airbench.errors import AirbenchError, nearest
from airbench.recipe.plugins import load_plugin

if TYPE_CHECKING:
    from airbench.experiment.run import Options


LONGEST = 2000
"""Characters of a message."""


RUNS = Path("runs")
"""Where run folders go, and are looked for, unless the user says otherwise."""


def shortened(text: str) -> str:
    """Return ``text``, or the beginning and the end of one so long that it hides what it says."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def given(options: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that the user gave, also as 0, as they were typed: the others are None, False or [].

    Of ``items``, which have no name on the command line, the words themselves.
    """
    values = {name: getattr(options, name) for name in names}
    found = [name for name, value in values.items() if value is not None and value is not False and value != []]
    return [word for name in found for word in (values[name] if name == "items" else [f"--{name.replace('_', '-')}"])]


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake in one line, as all of airbench does, without the usage before it."""

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.set_defaults(parser=self)  # of a command the innermost, which knows its options

    def error(self, message: str) -> NoReturn:
        """Print the mistake and a remedy: the nearest valid word, or where help is. Ends the program with 2."""
        message = " ".join(message.splitlines())
        choice = re.search(r"invalid choice: '(?P<word>.*?)' \(choose from (?P<valid>.*)\)", message)
        option = re.match(r"unrecognized arguments: (?P<word>--[\w-]+)", message)
        near = None
        if choice:
            near = nearest(choice["word"], re.findall(r"[\w-]+", choice["valid"]))
        elif option:
            near = nearest(option["word"], self._option_string_actions)
        if near:
            message += f"; did you mean {near}?"
        elif not re.search(r"; |: give ", message):  # no remedy of its own
            message += f"; {self.prog} --help lists what there is"
        self.exit(2, f"airbench: {shortened(message)}\n")


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


def share(text: str) -> float:
    """Parse a number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a share between 0 and 1: 0.94 is 94%")
    return value


def output_file(text: str) -> Path:
    """Parse the path of a file to write, so that one that cannot be written is refused before the work."""
    path = Path(text)
    with _answered(text):
        if path.is_dir() or not path.name:
            raise argparse.ArgumentTypeError(f"{text}: a folder; name a file in it")
        if not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"{text}: there is no folder {path.parent}; make it first")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise argparse.ArgumentTypeError(f"{text}: cannot be written to; choose another place")
    return path


def output_folder(text: str) -> Path:
    """Parse the path of a folder to write into, which may be made then, likewise."""
    path = Path(text)
    with _answered(text):
        there = next((each for each in (path, *path.parents) if each.exists()), Path())
        if not there.is_dir():
            raise argparse.ArgumentTypeError(f"{text}: {there} is not a folder; choose another place")
        if not os.access(there, os.W_OK):
            raise argparse.ArgumentTypeError(f"{text}: {there} cannot be written to; choose another place")
    return path


@contextmanager
def _answered(text: str) -> Iterator[None]:
    """Answer what a system cannot find out of a path, such as one that is too long, like any other mistake."""
    try:
        yield
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}; choose another place") from None


def ray_address(text: str) -> str:
    """Parse the address of a Ray cluster."""
    if text in ("local", "auto") or re.fullmatch(r"[\w.-]+:\d+|\[[\da-fA-F:]+\]:\d+", text):
        return text
    if text.startswith("ray://"):  # it cannot stream what actors send
        raise argparse.ArgumentTypeError(
            f"{text}: Ray's client cannot train trials; run this on a machine of the cluster, with --ray auto"
        )
    raise argparse.ArgumentTypeError(f"{text}: give host:port, auto or local, or write --ray after everything else")


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


def execution(options: argparse.Namespace) -> "Options":
    """Return how ``options`` say that trials are executed."""
    from airbench.experiment.cluster.connect import Cluster
    from airbench.experiment.executors import ProcessExecutor
    from airbench.experiment.run import Options
    from airbench.experiment.tensorboard import TensorBoard

    if options.ray is None and options.ray_threads is not None:
        raise AirbenchError("--ray-threads has no effect without --ray; use --threads")
    if options.ray_threads is not None and getattr(options, "threads", None) is not None:
        raise AirbenchError("--threads and --ray-threads both say how many threads a trial has; give one of them")
    if options.ray is not None and options.isolate:
        raise AirbenchError("--ray and --isolate both say where trials are trained; give one of them")
    return Options(
        executor=ProcessExecutor() if options.isolate else None,
        tensorboard=TensorBoard() if options.tensorboard else None,
        cluster=None if options.ray is None else Cluster(options.ray, options.ray_threads),
    )
