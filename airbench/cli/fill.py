"""The command that fills the tables and figures of Markdown pages from kept runs."""

import argparse
import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from airbench.errors import AirbenchError

_HELP = """\
Fill the marked tables and figures of Markdown pages from run folders, so that none of their numbers is copied by hand.

  airbench fill README.md notes.md          fill them anew
  airbench fill --check README.md           change nothing; exit code 1 if a page does not say what its runs say

A block says in a comment what it shows, and airbench writes the rest:

  <!-- airbench table
  columns: [recipe, n, accuracy, interval, difference]
  rows:
  - {run: runs/<a>, id: a}
  - {run: runs/<b>, against: a}
  -->
  <!-- end airbench -->

Kinds of blocks: table, scatter, output (of a command that reads runs), summary, index, studies.
"""


def add_commands(commands: Any) -> None:
    """Add ``fill``."""
    fill = commands.add_parser(
        "fill",
        help="fill the tables of Markdown pages from runs",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fill.add_argument("pages", nargs="+", type=Path, metavar="PAGE", help="Markdown files")
    fill.add_argument("--check", action="store_true", help="only say whether they are up to date")
    fill.set_defaults(command=_fill)


def _fill(options: argparse.Namespace) -> int:
    from airbench.pages import fill_page
    from airbench.runs.files import replace_file

    stale = 0
    for page in options.pages:
        before = _read(page)
        text = fill_page(page, before, _printed, draw=not options.check)
        fresh = text == before
        stale += not fresh
        if not fresh and not options.check:
            if _read(page) != before:
                raise AirbenchError(f"{page}: was changed while it was filled; fill it again")
            replace_file(page, text.encode("utf-8"))
        state = "up to date" if fresh else "out of date: airbench fill writes it anew" if options.check else "filled"
        print(f"{page}: {state}")
    return 1 if options.check and stale else 0


def _read(page: Path) -> str:
    try:
        return page.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise AirbenchError(f"{page}: cannot be read ({error})") from None


def _printed(words: Sequence[str]) -> str:
    """Return what a command prints; its verdict may be no. Raises AirbenchError for what it could not do."""
    from airbench.cli import main

    printed, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(errors):
        try:
            code = main(words)
        except SystemExit:  # of the parser of arguments
            code = 2
    if code > 1:
        raise AirbenchError(errors.getvalue().strip().removeprefix("airbench: "))
    return printed.getvalue()
