"""What a row of a table was measured by: run folders, or lines of a file of trials."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from airbench.analysis.compare import all_seeds_fixed, same_images
from airbench.analysis.experiments import refuse_duplicates, same_experiment, without_engine
from airbench.analysis.labels import leaves
from airbench.analysis.machines import why_no_time
from airbench.data.transforms import ImageShape
from airbench.errors import AirbenchError
from airbench.recipe import load_recipe
from airbench.recipe.config import Config
from airbench.runs import RunRecord, read_run
from airbench.runs.files import RECIPE
from airbench.training.flops import count_flop

CIFAR = ImageShape(side=32, channels=3, classes=10)
CIFAR_TEST_IMAGES = 10_000

_KEYS = ("recipe", "overrides", "steps", "accuracy", "plain", "seconds")
"""What each line of a file of trials has."""


class Row(Config):
    """A row: what was measured, and under further keys the text of columns that hold no measurement."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    run: str | list[str] = []  # noqa: RUF012
    """Run folder, or several whose trials are pooled; relative to the page."""

    trials: str | None = None
    """Instead: a file of trials, one JSON object a line with `recipe`, `accuracy`, `plain` and `seconds`."""

    where: dict[str, Any] = {}  # noqa: RUF012
    """With `trials`: keys and values of the lines that are meant."""

    id: str | None = None
    """By which other rows refer to this one."""

    against: str | None = None
    """`id` of the row that accuracies are compared with."""

    timed_against: str | None = None
    """`id` of the row that seconds are divided by."""

    published_accuracy: float | None = None
    """Drawn as a dash in a figure."""

    @property
    def runs(self) -> list[str]:
        """The run folders."""
        return [self.run] if isinstance(self.run, str) else self.run


@dataclass(frozen=True)
class Measured:
    """Trials of a row."""

    name: str
    """Of the recipe."""
    folder: str
    """Run folder, as the page names it; empty if there is none, or more than one."""
    accuracies: list[float]
    plain: list[float]
    seconds: list[float]
    """Empty if they are no record of time."""
    pflop: float | None
    images: str
    """Fingerprint of the images that it was evaluated on; empty if that is not recorded."""
    device: str
    """What it was trained on; empty if that is not recorded."""
    runs: tuple[RunRecord, ...]
    """The runs, if it was read from run folders."""

    @property
    def failed(self) -> int:
        """Number of trials that failed, and are in none of the above."""
        return sum(len(run.failed) for run in self.runs)

    @property
    def seeds_vary(self) -> bool:
        """Whether trials are independent: a run whose seeds are all held fixed repeats one trial."""
        return not any(all_seeds_fixed(run) for run in self.runs)


def measure(row: Row, page: Path) -> Measured | None:
    """Read the trials of a row; None if it names none. Raises AirbenchError if those it names are not there."""
    if row.trials is not None:
        return _of_lines(page.parent / row.trials, row.where)
    return _of_runs([_read(page, name) for name in row.runs], row.runs) if row.runs else None


def _read(page: Path, name: str) -> RunRecord:
    run = read_run(page.parent / name)
    if run.problems or not run.finished:
        raise AirbenchError(f"{run.path}: {run.problems[0] if run.problems else 'no trial finished'}; name another run")
    return run


def _of_runs(runs: list[RunRecord], names: list[str]) -> Measured:
    refuse_duplicates(runs)
    for run in runs[1:]:
        if not _can_be_pooled(runs[0], run):
            raise AirbenchError(f"{run.path}: not the recipe and images of {runs[0].path}, so they cannot be pooled")
    trials = [trial for run in runs for trial in run.finished]
    timed = len(runs) == 1 and not why_no_time(runs[0])
    return Measured(
        runs[0].name,
        names[0] if len(names) == 1 else "",
        [t.accuracy for t in trials],
        [t.plain_accuracy for t in trials],
        [t.seconds for t in trials] if timed else [],
        _pflop_of_run(runs[0]),
        runs[0].text("data", "test_fingerprint"),
        runs[0].machine("device"),
        tuple(runs),
    )


def _can_be_pooled(a: RunRecord, b: RunRecord) -> bool:
    """Whether two runs are of one recipe on the same images. Recipes of older versions lack newer settings."""
    if a.text("source", "sha256") == b.text("source", "sha256"):
        return same_experiment(a, b)
    settings, others = (dict(leaves(without_engine(run.recipe))) for run in (a, b))
    if any(_is_within(key, others) for key in settings) or any(_is_within(key, settings) for key in others):
        return False
    same = all(settings[key] == others[key] for key in settings.keys() & others.keys() - {"description", "target"})
    return same and len(same_images([a, b])) == 1


def _pflop_of_run(run: RunRecord) -> float | None:
    """Return the arithmetic of a trial: on CIFAR-10 counted anew, so that all rows are counted alike; else recorded."""
    flop, steps, images = run.number("flop", "trial"), run.number("steps"), run.number("data", "test_images")
    counted = None
    if steps and run.text("data", "name") == "cifar10":
        train = run.number("data", "train_images")
        counted = _count_pflop(
            str(run.path / RECIPE), (), int(steps), int(images or CIFAR_TEST_IMAGES), int(train) if train else None
        )
    return counted or (flop / 1e15 if flop else None)


def _of_lines(file: Path, where: dict[str, Any]) -> Measured:
    lines = [line for line in _lines(file) if all(line.get(key) == value for key, value in where.items())]
    if not lines:
        raise AirbenchError(f"{file}: no line has {json.dumps(where)}")
    kinds = {(line["recipe"], tuple(line["overrides"]), line["steps"]) for line in lines}
    if len(kinds) > 1:
        raise AirbenchError(f"{file}: {json.dumps(where)} are lines of several recipes; say more under where")
    name, overrides, steps = kinds.pop()
    alike = len({line.get("gpu") for line in lines}) == 1  # seconds of unlike devices are no record of time
    return Measured(
        name, "", [line["accuracy"] for line in lines], [line["plain"] for line in lines if line["plain"]],
        [line["seconds"] for line in lines] if alike else [], _count_pflop(name, overrides, steps), "",
        str(lines[0].get("gpu", "")), (),
    )  # fmt: skip


def _lines(file: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise AirbenchError(f"{file}: cannot be read as JSON lines ({error})") from None
    for number, line in enumerate(lines, start=1):
        missing = [key for key in _KEYS if not isinstance(line, dict) or key not in line]
        if missing:
            raise AirbenchError(f"{file}:{number}: not a trial: it lacks {', '.join(missing)}")
    return lines


def _is_within(key: str, leaves: dict[str, Any]) -> bool:
    """Whether a setting is below one that is a leaf elsewhere, such as null."""
    parts = key.split(".")
    return any(".".join(parts[:i]) in leaves for i in range(1, len(parts)))


@cache
def _count_pflop(
    recipe: str,
    overrides: tuple[str, ...],
    steps: int,
    test_images: int = CIFAR_TEST_IMAGES,
    train_images: int | None = None,
) -> float | None:
    """Count a trial's arithmetic on CIFAR-10, which files of trials do not record; None for what is no recipe."""
    try:
        loaded = load_recipe(recipe, overrides)
    except AirbenchError:
        return None
    per_epoch = loaded.recipe.train.steps_per_epoch(train_images) if train_images else None
    return count_flop(loaded.recipe, steps, test_images, CIFAR, per_epoch)["trial"] / 1e15
