"""What a sweep leaves on disk: its plan, a run folder for each setting, and the recipe of the best.

sweep.json   the recipe, the settings, trials, seeds; written before the first trial
search/      a run folder for each setting
again/       those of the best, trained again with fresh seeds
best.yaml    the recipe of the best, ready to be trained
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe, dump_recipe, load_recipe
from airbench.runs import RunRecord, find_runs, read_run
from airbench.runs.files import content
from airbench.sweep.axes import Setting, overrides

PLAN, RECIPE, BEST = "sweep.json", "recipe.yaml", "best.yaml"
SEARCH, AGAIN = "search", "again"


@dataclass(frozen=True)
class Sweep:
    """A sweep's plan, and its folder."""

    path: Path
    settings: tuple[Setting, ...]
    trials: int
    seed: int
    top: int
    """Of the best so many are trained again."""
    again: int
    """With so many trials each."""
    on_test: bool
    """Whether settings are judged on the test images; what was chosen so proves nothing on them."""

    def recipe_of(self, number: int) -> LoadedRecipe:
        """Load the recipe of a setting, by its number from 0."""
        words = [*overrides(self.settings[number]), f"name={name_of(number)}"]
        loaded = load_recipe(self.path / RECIPE, words)
        return replace(loaded, path=self.path / RECIPE)

    def runs(self, part: str = SEARCH) -> dict[int, RunRecord]:
        """Read the runs of the settings that were begun, by the settings' numbers."""
        numbers = {name_of(number): number for number in range(len(self.settings))}
        found = {path: "-".join(path.name.rsplit("-", 2)[1:]) for path in find_runs(self.path / part)}
        return {numbers[name]: read_run(path) for path, name in found.items() if name in numbers}

    def run_of(self, number: int, part: str = SEARCH) -> RunRecord | None:
        """Return the run of a setting; None if it was not begun."""
        return self.runs(part).get(number)


def name_of(number: int) -> str:
    """Return the recipe's name for a setting, in tables and run folders."""
    return f"setting-{number:04d}"


def create(out: Path, recipe: LoadedRecipe, plan: Sweep) -> Sweep:
    """Create the sweep's folder below ``out``.

    Raises AirbenchError if it cannot be written, or a setting does not fit the recipe.
    """
    path = out / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-sweep-{recipe.recipe.name}"
    try:
        path.mkdir(parents=True)
        (path / RECIPE).write_text(dump_recipe(recipe.recipe), encoding="utf-8")
        kept = {key: value for key, value in asdict(plan).items() if key != "path"}
        temporary = path / f"{PLAN}.part"
        temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path / PLAN)  # there, and so is the recipe
    except OSError as error:
        raise AirbenchError(f"{path}: cannot be written ({error.strerror}); choose another place with --out") from None
    sweep = replace(plan, path=path)
    try:
        for number in range(len(plan.settings)):
            sweep.recipe_of(number)
    except AirbenchError:
        shutil.rmtree(path)
        raise
    return sweep


def read(path: Path) -> Sweep:
    """Read a sweep's plan. Raises AirbenchError if there is none."""
    try:
        plan = json.loads(content(path / PLAN))
        settings = tuple({str(k): str(v) for k, v in setting.items()} for setting in plan.pop("settings"))
        return Sweep(path=path, settings=settings, **plan)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise AirbenchError(f"{path}: not a sweep's folder ({PLAN}: {type(error).__name__})") from None
