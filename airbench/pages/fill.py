"""Filling the marked blocks of a page.

A block is a comment, which says what is wanted, what stands there, and a comment that ends it::

    <!-- airbench table
    columns: [recipe, n, accuracy, interval]
    rows:
    - run: 20261125-161004-airbench94_muon
    -->

    <!-- end airbench -->
"""

import itertools
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from airbench.analysis.labels import short_devices
from airbench.analysis.report.order import evaluated_on
from airbench.analysis.report.tables import markdown_table
from airbench.analysis.summary import summary_rows, table
from airbench.errors import AirbenchError
from airbench.pages.blocks import Block, replace_blocks
from airbench.pages.scatter import Scatter, markdown_scatter
from airbench.pages.tables import Table, filled_table
from airbench.recipe.config import Config
from airbench.recipe.explain import Model, validate
from airbench.recipe.source import parse_yaml
from airbench.runs import RunRecord, find_runs, read_run

READING = ("compare", "power", "runs", "time-to-target", "variance", "verify")
"""Commands whose output a page can show, of runs that are there."""

OPTIONS = {
    "--paired": False, "--json": False, "--target": True, "--difference": True, "--std": True, "--power": True,
    "--alpha": True, "--match": True,
}  # fmt: skip
"""Their options, and whether a value follows. None of them trains, writes or loads code."""


Run = Callable[[Sequence[str]], str]
"""Runs a command of airbench, given its words, and returns what it prints. Raises AirbenchError if it fails."""


class Output(Config):
    """What a command prints."""

    command: str
    """As `airbench compare RUN RUN`; paths in it are relative to where the page is filled."""


class Summary(Config):
    """The table with which training ends."""

    runs: list[str] = Field(min_length=1)
    """Run folders, relative to the page."""


class Folder(Config):
    """Every run in a folder, or every study: what was seen, and its figure."""

    folder: str = "."
    """Relative to the page."""


def fill_page(page: Path, text: str, run: Run, *, draw: bool = True) -> str:
    """Return the ``text`` of a page with its blocks filled anew. Figures are drawn beside it if ``draw``.

    ``run`` runs the commands whose output it shows. Raises AirbenchError, in one line that names page and line, for
    what cannot be filled.
    """
    kinds: dict[str, Callable[[Block], str]] = {
        "table": lambda block: filled_table(_wanted(Table, block), page),
        "scatter": lambda block: markdown_scatter(_wanted(Scatter, block), page, draw=draw),
        "output": lambda block: _output(block, run),
        "summary": _summary,
        "index": _index,
        "studies": _studies,
    }

    def content(block: Block) -> str:
        if block.kind not in kinds:
            raise AirbenchError(f"{page}:{block.line}: {block.kind}: no such kind of block; kinds: {', '.join(kinds)}")
        return kinds[block.kind](block)

    return replace_blocks(page, text, content)


def _output(block: Block, run: Run) -> str:
    command = _wanted(Output, block).command
    place = f"{block.page}:{block.line}: command = {command}"
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise AirbenchError(f"{place}: {error}") from None
    if words[:1] != ["airbench"] or words[1:2] == [] or words[1] not in READING:
        raise AirbenchError(f"{place}: give airbench and one of {', '.join(READING)}")
    for before, word in itertools.pairwise(words[1:]):
        if word.startswith("-") and word not in OPTIONS:
            raise AirbenchError(f"{place}: {word}: a page can use {', '.join(OPTIONS)}")
        if not word.startswith("-") and not OPTIONS.get(before, False) and not Path(word).is_dir():
            raise AirbenchError(f"{place}: {word}: no such run folder; a page shows what is there and trains nothing")
    try:
        return f"```\n$ {command}\n{run(words[1:]).rstrip()}\n```"
    except AirbenchError as error:
        raise AirbenchError(f"{place}: {error}") from None


def _summary(block: Block) -> str:
    runs = [read_run(block.page.parent / name) for name in _wanted(Summary, block).runs]
    return "\n".join(["```", *table(summary_rows(runs)), "```"])


def _index(block: Block) -> str:
    folder = block.page.parent / _wanted(Folder, block).folder
    found = [(path, find_runs(path)) for path in sorted(path for path in folder.iterdir() if path.is_dir())]
    runs = {path: read_run(path) for path, inside in found if inside == [path]}
    devices = short_devices([run.machine("device") for run in runs.values()])
    machines = dict(zip(runs, devices, strict=True))
    rows = [("run", "images", "machine", "n", "mean accuracy", "median seconds")]
    for path, inside in found:
        link = f"[{path.name}]({path.relative_to(block.page.parent)})"
        if path in runs:
            rows.append((link, *_index_cells(runs[path], machines[path])))
        elif inside:
            rows.append((f"{link}, {len(inside)} runs", "", "", "", "", ""))
    return "\n".join(markdown_table(rows))


def _index_cells(run: RunRecord, machine: str) -> tuple[str, str, str, str, str]:
    _, n, mean, _, _, seconds, _ = summary_rows([run])[1]
    precision = run.machine("precision")
    return evaluated_on(run), f"{machine}, {precision}", n, mean, seconds


def _studies(block: Block) -> str:
    folder = block.page.parent / _wanted(Folder, block).folder
    shown = []
    for file in sorted(folder.glob("*.json")):
        try:
            study = json.loads(file.read_text("utf-8"))
            name, seen = study["study"], study["seen"]
        except (OSError, ValueError, KeyError, TypeError):
            raise AirbenchError(f"{file}: not the numbers of a study; airbench study writes them") from None
        picture = file.with_suffix(".png").relative_to(block.page.parent)
        numbers = file.relative_to(block.page.parent)
        shown += [
            f"## {name}",
            "",
            f"{seen} ([numbers]({numbers}))",
            "",
            f"![Figure of the study {name}]({picture})",
            "",
        ]
    return "\n".join(shown)


def _wanted(model: type[Model], block: Block) -> Model:
    return validate(model, parse_yaml(block.wanted, str(block.page)), block.page)
