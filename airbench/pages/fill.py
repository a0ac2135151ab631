"""Filling the marked blocks of a page.

A block is a comment, which says what is wanted, what stands there, and a comment that ends it::

    <!-- airbench table
    columns: [recipe, n, accuracy, interval]
    rows:
    - run: 20261125-161004-airbench94_muon
    -->

    <!-- end airbench -->
"""

import io
import shlex
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from pydantic import Field

from airbench.analysis.report import evaluated_on
from airbench.analysis.summary import summary_rows, table
from airbench.errors import AirbenchError
from airbench.pages.blocks import Block, replace_blocks
from airbench.pages.scatter import Scatter, markdown_scatter
from airbench.pages.tables import Table, markdown_table
from airbench.recipe.config import Config
from airbench.recipe.explain import Model, validate
from airbench.recipe.source import parse_yaml
from airbench.runs import find_runs, read_run

READING = ("compare", "power", "runs", "time-to-target", "variance", "verify")
"""Commands whose output a page can show: they only read runs."""


class Output(Config):
    """What a command prints."""

    command: str
    """`airbench compare RUN RUN`, run where the page is filled."""


class Summary(Config):
    """The table with which training ends."""

    runs: list[str] = Field(min_length=1)
    """Run folders, relative to the page."""


class Index(Config):
    """Every run in a folder."""

    folder: str = "."
    """Relative to the page."""


def fill_page(page: Path, *, draw: bool = True) -> str:
    """Return the text of a page with its blocks filled anew. Figures are drawn beside it if ``draw``.

    Raises AirbenchError, in one line that names page and line, for what cannot be filled.
    """
    try:
        text = page.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise AirbenchError(f"{page}: cannot be read ({error})") from None
    return replace_blocks(page, text, lambda block: _content(block, draw))


def _content(block: Block, draw: bool) -> str:
    if block.kind == "scatter":
        return markdown_scatter(_wanted(Scatter, block), block.page, draw=draw)
    if block.kind not in _KINDS:
        raise AirbenchError(
            f"{block.page}:{block.line}: no block is called {block.kind}; there are {', '.join(_KINDS)}"
        )
    return _KINDS[block.kind](block)


def _table(block: Block) -> str:
    return markdown_table(_wanted(Table, block), block.page)


def _output(block: Block) -> str:
    from airbench.cli import main

    command = _wanted(Output, block).command
    words = shlex.split(command)
    if words[:1] != ["airbench"] or words[1:2] == [] or words[1] not in READING:
        raise AirbenchError(f"{block.page}:{block.line}: command = {command}: give airbench and {', '.join(READING)}")
    printed, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(errors):
        code = main(words[1:])
    if code > 1:
        raise AirbenchError(f"{block.page}:{block.line}: {command}: {errors.getvalue().strip()}")
    return f"```\n$ {command}\n{printed.getvalue().rstrip()}\n```"


def _summary(block: Block) -> str:
    runs = [read_run(block.page.parent / name) for name in _wanted(Summary, block).runs]
    return "\n".join(["```", *table(summary_rows(runs)), "```"])


def _index(block: Block) -> str:
    folder = block.page.parent / _wanted(Index, block).folder
    rows = ["| run | images | machine | n | mean accuracy | median seconds |", "|---|---|---|---|---|---|"]
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        runs, name = find_runs(path), path.relative_to(block.page.parent)
        if runs == [path]:
            run = read_run(path)
            _, n, mean, _, _, seconds, _ = summary_rows([run])[1]
            machine = ", ".join(text for key in ("device", "precision") if (text := run.text("environment", key)))
            rows.append(f"| [{path.name}]({name}) | {evaluated_on(run)} | {machine} | {n} | {mean} | {seconds} |")
        elif runs:
            rows.append(f"| [{path.name}]({name}), {len(runs)} runs | | | | | |")
    return "\n".join(rows)


def _wanted(model: type[Model], block: Block) -> Model:
    return validate(model, parse_yaml(block.wanted, str(block.page)), block.page)


_KINDS: Mapping[str, Callable[[Block], str]] = {
    "table": _table,
    "output": _output,
    "summary": _summary,
    "index": _index,
}
