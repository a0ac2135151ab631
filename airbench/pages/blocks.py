"""Marked blocks of a Markdown page: where they are, what they ask for, and what stands in them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airbench.errors import AirbenchError

_BEGIN = re.compile(r"^<!-- airbench (?P<kind>[a-z]+)$")
_END = "<!-- end airbench -->"


@dataclass(frozen=True)
class Block:
    """A block: a comment that says what is wanted, the content, and a comment that ends it."""

    page: Path
    kind: str
    line: int
    """Where it begins, counted from 1."""
    wanted: str
    """YAML, preceded by as many empty lines as the page has before it, so that its line numbers are the page's."""


def replace_blocks(page: Path, text: str, content: Callable[[Block], str]) -> str:
    """Return the text of a page with ``content`` of each block in place of what stands there.

    Raises AirbenchError for a block that does not begin or end as it should.
    """
    lines, out, at, in_code = text.split("\n"), list[str](), 0, False
    while at < len(lines):
        in_code ^= lines[at].startswith("```")  # a page may show what a block looks like
        found = None if in_code else _BEGIN.match(lines[at])
        if not found and not in_code and (lines[at].startswith("<!-- airbench") or lines[at] == _END):
            raise AirbenchError(
                f"{page}:{at + 1}: {lines[at]}: begins or ends no block: write <!-- airbench KIND alone on a line"
            )
        if not found:
            out.append(lines[at])
            at += 1
            continue
        place = f"{page}:{at + 1}"
        opened = _find(lines, "-->", at, f"{place}: its comment does not end: put --> on a line of its own")
        closed = _find(lines, _END, opened, f"{place}: the block does not end: put {_END} on a line of its own")
        wanted = "\n" * (at + 1) + "\n".join(lines[at + 1 : opened])
        filled = content(Block(page, found["kind"], at + 1, wanted))
        out += [*lines[at : opened + 1], "", *filled.rstrip("\n").split("\n"), "", _END]
        at = closed + 1
    return "\n".join(out)


def _find(lines: list[str], mark: str, start: int, problem: str) -> int:
    for at in range(start + 1, len(lines)):
        if lines[at] == mark:
            return at
        if _BEGIN.match(lines[at]):
            break
    raise AirbenchError(problem)
