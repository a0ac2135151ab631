"""What a sweep leaves on disk: its plan, a run folder for each setting, and the recipe of the best.

sweep.json   axes, settings, trials, seeds; written before the first trial, and for each setting that Optuna chooses
recipe.yaml  the recipe
optuna.log   with --tpe, Optuna's own record of the search, also for its tools
refused.jsonl  settings that cannot be trained, and why
search/      a run folder for each setting
again/       those of the best, trained again with fresh seeds
best.yaml    the recipe of the best, ready to be trained
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from airbench.errors import AirbenchError
from airbench.experiment.recorded import missing_plugins_named
from airbench.recipe import LoadedRecipe, dump_recipe, load_recipe
from airbench.recipe.load import with_overrides
from airbench.recipe.source import COMMAND_LINE, parse_override
from airbench.runs import RunRecord, find_runs, read_run
from airbench.runs.files import content, replace_file
from airbench.runs.folder import new_folder
from airbench.runs.record import walk
from airbench.sweep.axes import Setting, ends, overrides, parse_axis

PLAN, RECIPE, BEST = "sweep.json", "recipe.yaml", "best.yaml"
TELESCOPE = "telescope.json"
"""The plan of a telescope, whose folder holds a sweep for each level."""
REFUSED = "refused.jsonl"
Origins = Mapping[str, str]
"""File and line of the axes that come from a file, by key."""
NO_ORIGINS: Origins = MappingProxyType({})
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
    axes: tuple[str, ...] = ()
    """As on the command line; unknown for sweeps of older versions."""
    count: int | None = None
    """Number of settings to choose during the search, by Optuna. None: the settings are fixed."""
    prune: bool = False
    """Whether trials of little promise are stopped."""

    def with_setting(self, setting: Setting) -> "Sweep":
        """Record a setting that was chosen during the search. Raises AirbenchError if it does not fit the recipe."""
        longer = replace(self, settings=(*self.settings, setting))
        longer.recipe_of(len(self.settings))
        longer.write()
        return longer

    def write(self) -> None:
        """Write the plan into the sweep's folder, atomically. Raises AirbenchError."""
        write_json(self.path / PLAN, {key: value for key, value in asdict(self).items() if key != "path"})

    def recipe(self) -> LoadedRecipe:
        """Load the recipe whose settings vary. Raises RecipeError, which names plugins that are missing."""
        return load_planned(self.path / PLAN)

    def recipe_of(self, number: int) -> LoadedRecipe:
        """Load the recipe of a setting, by its number from 0."""
        words = [*overrides(self.settings[number]), f"name={name_of(number)}"]
        return replace(load_planned(self.path / PLAN, words), path=self.path / RECIPE)

    def runs(self, part: str = SEARCH, numbers: Iterable[int] | None = None) -> dict[int, RunRecord]:
        """Read the runs of the settings that were begun, by the settings' numbers: all, or those of ``numbers``."""
        wanted = {name_of(number): number for number in (range(len(self.settings)) if numbers is None else numbers)}
        found: dict[int, RunRecord] = {}
        for path in find_runs(self.path / part):
            name = _RUN_OF.search(path.name)
            if name is None or name[1] not in wanted:
                continue
            run = read_run(path)
            if run.trials or run.planned is not None:  # without run.json nothing was trained: the run begins anew
                found[wanted[name[1]]] = run
        return found

    def refuse(self, number: int, why: str) -> None:
        """Record that a setting cannot be trained. It counts as the worst."""
        with (self.path / REFUSED).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"setting": number, "why": why}) + "\n")

    def refused(self) -> dict[int, str]:
        """Return why settings cannot be trained, by number."""
        found: dict[int, str] = {}
        for line in (self.path / REFUSED).read_text("utf-8").splitlines() if (self.path / REFUSED).exists() else ():
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                found[int(entry["setting"])] = str(entry["why"])
        return found

    def run_of(self, number: int, part: str = SEARCH) -> RunRecord | None:
        """Return the run of a setting; None if it was not begun."""
        return self.runs(part, [number]).get(number)


def load_planned(plan: Path, words: Sequence[str] = ()) -> LoadedRecipe:
    """Load the recipe beside ``plan``, the file of a sweep or a telescope, with the overrides ``words`` that it chose.

    Raises RecipeError, which names plugins that are missing.
    """

    def any_run() -> RunRecord | None:
        paths = find_runs(plan.parent)
        return read_run(paths[0]) if paths else None

    with missing_plugins_named(any_run):
        return load_recipe(plan.parent / RECIPE, [parse_override(word, str(plan)) for word in words])


def write_json(file: Path, value: Any) -> None:
    """Write a JSON file atomically. Raises AirbenchError."""
    try:
        replace_file(file, (json.dumps(value, indent=1) + "\n").encode("utf-8"))
    except OSError as error:
        raise AirbenchError(f"{file.parent}: cannot be written ({error.strerror}); free some space") from None


def is_sweep_folder(path: Path) -> bool:
    """Return whether ``path`` is the folder of a sweep or a telescope."""
    return (path / PLAN).is_file() or (path / TELESCOPE).is_file()


def find_sweep_folders(root: Path) -> list[Path]:
    """Return the folders of sweeps and telescopes below ``root``, newest first by name, none inside another."""
    found = []
    for place, subfolders, _ in walk(root):
        if is_sweep_folder(place):
            found.append(place)
            subfolders.clear()
    return sorted(found, key=lambda path: path.name, reverse=True)


_RUN_OF = re.compile(r"-(setting-\d+)(-\d+)?$")
"""The end of a run folder's name: the setting's, and a number if two were begun in one second."""


def name_of(number: int) -> str:
    """Return the recipe's name for a setting, in tables and run folders."""
    return f"setting-{number:04d}"


def create(out: Path, recipe: LoadedRecipe, plan: Sweep, origins: Origins = NO_ORIGINS) -> Sweep:
    """Create the sweep's folder below ``out``, named by date, time and recipe.

    Raises AirbenchError if it cannot be written, or a setting does not fit the recipe (see :func:`check`).
    """
    check(recipe, plan, origins)
    return _written(make(out, "sweep", recipe), recipe, plan)


def create_at(path: Path, recipe: LoadedRecipe, plan: Sweep) -> Sweep:
    """Check and write a sweep's plan as :func:`create` does, in the folder ``path``, which may be there already."""
    check(recipe, plan)
    return _written(path, recipe, plan)


def _written(path: Path, recipe: LoadedRecipe, plan: Sweep) -> Sweep:
    write_recipe(path, recipe)
    sweep = replace(plan, path=path)
    sweep.write()
    return sweep


def make(out: Path, kind: str, recipe: LoadedRecipe) -> Path:
    """Create a folder below ``out`` that no other search has, whenever it was begun. Raises AirbenchError."""
    try:
        return new_folder(out, f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{kind}-{recipe.recipe.name}")
    except OSError as error:
        raise AirbenchError(f"{out}: cannot be written ({error.strerror}); choose another place with --out") from None


def write_recipe(path: Path, recipe: LoadedRecipe) -> None:
    """Write the recipe whose settings vary into the folder ``path``. Raises AirbenchError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / RECIPE).write_text(dump_recipe(recipe.recipe), encoding="utf-8")
    except OSError as error:
        raise AirbenchError(f"{path}: cannot be written ({error.strerror}); choose another place with --out") from None


def check(recipe: LoadedRecipe, plan: Sweep, origins: Origins = NO_ORIGINS) -> None:
    """Raise RecipeError if a setting does not fit the recipe, naming where its axis is written.

    Of a search that chooses its settings, the ends of each axis are checked.
    """
    extremes = [setting for text in plan.axes for setting in ends(parse_axis(text))]
    for setting in plan.settings if plan.count is None else extremes:
        check_setting(recipe, setting, origins)


def check_setting(recipe: LoadedRecipe, setting: Setting, origins: Origins = NO_ORIGINS) -> None:
    """Raise RecipeError if a setting does not fit the recipe."""
    words = zip(setting, overrides(setting), strict=True)
    with_overrides(recipe, [parse_override(word, origins.get(key, COMMAND_LINE)) for key, word in words])


def read(path: Path) -> Sweep:
    """Read a sweep's plan. Raises AirbenchError if there is none."""
    try:
        plan = json.loads(content(path / PLAN))
        settings = tuple({str(k): str(v) for k, v in setting.items()} for setting in plan.pop("settings"))
        return Sweep(path=path, settings=settings, axes=tuple(plan.pop("axes", ())), **plan)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise AirbenchError(f"{path}: not a sweep's folder ({PLAN}: {type(error).__name__})") from None
