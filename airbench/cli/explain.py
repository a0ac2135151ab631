"""What ``airbench train`` says around its trials: the result of a comparison and, with ``--explain``, how to read it.

Nothing is claimed here that the procedure of :mod:`airbench.analysis.compare` does not claim.
"""

import shlex
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe

if TYPE_CHECKING:
    from airbench.runs import RunRecord

_LINE = 100
"""Characters of a line."""

_ROWS = {
    "epoch": "passes over the training images so far; final: the trained net",
    "loss, train_acc": "loss and accuracy on the last batch that was trained on",
    "test_acc": "accuracy on images that are never trained on",
    "tta_acc": "the same with test-time augmentation (TTA): several views of each image",
    "seconds": "on the clock so far: training; in the final row, also its evaluation",
}
_TABLE = {
    "n": "trials that finished",
    "accuracy (TTA)": "mean ± standard deviation of the final tta_acc",
    "95% interval": "where the mean of very many trials probably lies (Student's t)",
    "plain": "mean of the final test_acc",
    "seconds": "median of the final seconds",
    "target": "what the recipe aims at; reached if the mean is no lower",
}
_DIFFERENCE = "difference of the means; an interval with 0 inside leaves open which is higher"
_UNTOLD = "  These trials cannot tell which is more accurate; n is the number of trials of each."


def head_lines(recipes: Sequence[LoadedRecipe], trials: int, seed: int) -> list[str]:
    """Return what is going to run: each recipe with its description, the trials and their seeds."""
    width = max(len(each.recipe.name) for each in recipes)
    count = "one trial" if trials == 1 else f"{trials} trials"
    seeds = f"seed {seed}" if trials == 1 else f"seeds {seed} to {seed + trials - 1}"
    of_each = " of each recipe, in turn" if len(recipes) > 1 else ""
    return [
        *(f"{each.recipe.name:<{width}}  {_shortened(each.recipe.description, width)}".rstrip() for each in recipes),
        f"{count}{of_each}, {seeds}: a net from scratch, timed, then tested.",
        "First the set-up: images, device, steps, and which optimizer trains which weights.",
        "",
    ]


def _shortened(description: str, width: int) -> str:
    return textwrap.shorten(first_sentence(description), max(20, _LINE - width - 2), placeholder=" …")


def first_sentence(description: str) -> str:
    """Return the first sentence of a recipe's description, without its full stop."""
    return description.split(". ")[0].rstrip(".:")


def result_lines(runs: "Sequence[RunRecord]", *, explain: bool) -> list[str]:
    """Return the result of two runs in a sentence; with ``explain``, also how to read the rest, and what to do next."""
    from airbench.analysis.compare import comparable_with_first, compare_runs

    compared = comparable_with_first(runs)
    lines = _legend(compared=compared) if explain else []
    if len(runs) == 2 and compared and all(run.finished for run in runs):
        try:
            verdict = compare_runs(runs)[0].verdict
        except AirbenchError as reason:  # training is finished, whatever can be said of it
            verdict = str(reason)
        lines.append(f"result: {verdict}")
        if explain and verdict.startswith("inconclusive"):
            lines.append(_UNTOLD)
    return [*lines, *(_next(runs) if explain else ())]


def _legend(*, compared: bool) -> list[str]:
    table = {**_TABLE, "difference": _DIFFERENCE} if compared else _TABLE
    width = max(map(len, (*_ROWS, *table)))
    return [
        "",
        "The rows of the trials:",
        *(f"  {name:<{width}}  {meaning}" for name, meaning in _ROWS.items()),
        "The table:",
        *(f"  {name:<{width}}  {meaning}" for name, meaning in table.items()),
        "",
    ]


def _next(runs: "Sequence[RunRecord]") -> list[str]:
    program, names = _program(), " ".join(shlex.quote(str(run.path)) for run in runs)
    finished = {f"{program} report {names}": "these runs as a page with figures"}
    if len(runs) > 1:
        finished[f"{program} compare {names}"] = "the comparison in full, with the times"
    finished[f"{program} resume RUN"] = "the missing trials, if a run was interrupted"
    finished[f"{program} train --help"] = "more trials (--trials), other settings (KEY=VALUE), your own recipes"
    return ["", "Next:", *(f"  {command}\n    {meaning}" for command, meaning in finished.items())]


def _program() -> str:
    """Return how this Python's ``airbench`` is called from here."""
    beside = Path(sys.executable).with_name("airbench")
    on_path = shutil.which("airbench")
    if on_path is not None and (not beside.exists() or Path(on_path).resolve() == beside.resolve()):
        return "airbench"
    if not beside.exists():
        return f"{shlex.quote(sys.executable)} -m airbench"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))
