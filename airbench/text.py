"""Text for people: numbers of things, and lines that are broken between words where a terminal is too narrow."""

import re
import shutil
import sys
import textwrap
from typing import TextIO

_LEAST = 40
"""Columns of a terminal below which nothing is broken."""

_COMMAND = re.compile(r"(^ *|: )(\S+ -m |'[^']*/|\S*)airbench'? [a-z]")
_LABEL = re.compile(r" *\S(?: ?\S)*  +")


def counted(number: int, thing: str) -> str:
    """Return ``number`` with ``thing`` in the singular or, with an s, the plural: 1 trial, 2 trials."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def say(*lines: str) -> None:
    """Print lines to standard output at once, each broken to the terminal's width."""
    for line in lines:
        print(folded(line, sys.stdout), flush=True)


def folded(text: str, out: TextIO) -> str:
    """Break ``text`` to the width of the terminal that ``out`` is; for anything else, return it as it is."""
    try:
        if not out.isatty():
            return text
    except ValueError:  # closed
        return text
    columns = shutil.get_terminal_size().columns
    return text if columns < _LEAST else "\n".join(_broken(line, columns) for line in text.split("\n"))


def _broken(line: str, columns: int) -> str:
    """Break a line between words. What continues it stands below its text, to the right of its label if it has one.

    A command, which is there to be copied, stays in one piece.
    """
    if len(line) <= columns or _COMMAND.search(line):
        return line
    label = _LABEL.match(line)
    indent = len(line) - len(line.lstrip()) + 2
    if label is not None and label.end() <= columns // 3:
        indent = label.end()
    return textwrap.fill(
        line, columns, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip
