"""Telescoping: search on a small net, then near its optimum on larger ones, up to the target.

After Shah et al. 2025 (arXiv 2505.02222, section on telescoping): a wide search where trials are cheap, a narrow one
where they are not, so that the whole costs a small multiple of one training at the target. It rests on learning rates
that transfer from small nets to large ones (`adjust_lr`); the figure shows whether they did.

telescope.json   the plan
level-0, …       a sweep for each level
optima.json      the optimum of each axis at each level, with its interval
telescope.png    accuracies, and how the optima move
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from airbench.errors import AirbenchError, RecipeError
from airbench.experiment.run import Options
from airbench.recipe import LoadedRecipe, Recipe
from airbench.recipe.load import with_overrides
from airbench.recipe.source import twice
from airbench.runs.files import content
from airbench.runs.folder import locked
from airbench.sweep import folder
from airbench.sweep.axes import Axis, ends, parse_axis, settings
from airbench.sweep.folder import NO_ORIGINS, RECIPE, Origins, Sweep
from airbench.sweep.optimum import Optimum, optimum
from airbench.sweep.results import winner
from airbench.sweep.search import search
from airbench.sweep.trained import Say, accuracies, finished, refuse_other_code, require_finished

PLAN = folder.TELESCOPE


@dataclass(frozen=True)
class Telescope:
    """The plan of a telescope, and its folder."""

    path: Path
    key: str
    """The setting that grows."""
    values: tuple[str, ...]
    axes: tuple[str, ...]
    points: tuple[int, ...]
    shrink: float
    trials: int
    seed: int
    top: int
    again: int
    on_test: bool

    def grid_points(self, level: int) -> int:
        """Return the number of values of each axis at a level."""
        return self.points[min(level, len(self.points) - 1)]

    def axes_at(self, level: int, centre: dict[str, str]) -> list[Axis]:
        """Return the axes of a level, around the best setting of the level before."""
        axes = [parse_axis(text) for text in self.axes]
        if level == 0:
            return [replace(axis, points=self.grid_points(0)) for axis in axes]
        share = self.shrink**level
        return [axis.around(float(centre[axis.key]), share, self.grid_points(level)) for axis in axes]

    def level_path(self, level: int) -> Path:
        """Return the folder of a level's sweep."""
        return self.path / f"level-{level}"

    def recipe_at(self, level: int) -> LoadedRecipe:
        """Load the recipe of a level."""
        return folder.load_planned(self.path / PLAN, [f"{self.key}={self.values[level]}"])


def recipes(plan: Telescope, recipe: LoadedRecipe) -> list[Recipe]:
    """Return the recipe of each level, of a plan without a folder yet."""
    return [with_overrides(recipe, [f"{plan.key}={value}"]).recipe for value in plan.values]


def check(recipe: LoadedRecipe, plan: Telescope, origins: Origins = NO_ORIGINS) -> None:
    """Raise AirbenchError if the plan does not fit the recipe, naming where its axis is written."""
    for axis in (parse_axis(text, origins.get(text.partition("=")[0], "")) for text in plan.axes):
        if axis.choices:
            raise AirbenchError(f"{axis.said}: a telescope narrows ranges; write low..high:log, not a list")
        if twice([axis.key, plan.key]) is not None:
            raise AirbenchError(f"{axis.said}: the telescope's key is also an axis; leave out one of the two")
    first = settings(plan.axes_at(0, {}), None, plan.seed)
    for value in plan.values:
        for corner in (first[0], first[-1]):
            folder.check_setting(recipe, {plan.key: value, **corner}, origins)


def create(out: Path, recipe: LoadedRecipe, plan: Telescope, origins: Origins = NO_ORIGINS) -> Telescope:
    """Create the telescope's folder below ``out``. Raises AirbenchError if the plan does not fit the recipe."""
    check(recipe, plan, origins)
    path = folder.make(out, "telescope", recipe)
    folder.write_recipe(path, recipe)
    made = replace(plan, path=path)
    folder.write_json(path / PLAN, {key: value for key, value in asdict(made).items() if key != "path"})
    return made


def read(path: Path) -> Telescope:
    """Read a telescope's plan. Raises AirbenchError if there is none."""
    try:
        plan = json.loads(content(path / PLAN))
        for key in ("values", "axes", "points"):
            plan[key] = tuple(plan[key])
        return Telescope(path=path, **plan)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise AirbenchError(f"{path}: not a telescope's folder ({PLAN}: {type(error).__name__})") from None


def is_telescope(path: Path) -> bool:
    """Return whether ``path`` is the folder of a telescope."""
    return (path / PLAN).is_file()


def plan_lines(telescope: Telescope, costs: Sequence[tuple[float, float]]) -> list[str]:
    """Return the plan of a telescope: settings, trials, arithmetic and hours of each level, and in all.

    ``costs`` are the PFLOP and hours of a trial at each level.
    """
    lines, pflop, hours = [], 0.0, 0.0
    axes = len(telescope.axes)
    for level, (value, cost) in enumerate(zip(telescope.values, costs, strict=True)):
        points = telescope.grid_points(level)
        again = min(telescope.top, points**axes) * telescope.again if level == len(costs) - 1 else 0
        trials = points**axes * telescope.trials + again
        where = "the whole range" if level == 0 else f"{telescope.shrink**level:.3g} of the range, around the best"
        lines.append(
            f"level {level + 1}, {telescope.key}={value}: {points**axes} settings over {where}, {trials} trials, "
            f"{trials * cost[0]:.3g} PFLOP, about {trials * cost[1]:.2g} h"
        )
        pflop, hours = pflop + trials * cost[0], hours + trials * cost[1]
    lines.append(
        f"in all: {pflop:.3g} PFLOP, {pflop / costs[-1][0]:.3g} times a training at the target; about {hours:.2g} h"
    )
    return lines


def run(telescope: Telescope, say: Say, options: Options | None = None) -> list[Sweep]:
    """Search level by level what is missing. It can be interrupted at any time and called again."""
    with locked(telescope.path / RECIPE, "telescope"):
        return _run(telescope, say, options or Options())


def _run(telescope: Telescope, say: Say, options: Options) -> list[Sweep]:
    levels: list[Sweep] = []
    resumed = telescope.level_path(0).exists()
    for level, value in enumerate(telescope.values):
        say(f"\nlevel {level + 1} of {len(telescope.values)}: {telescope.key}={value}")
        path = telescope.level_path(level)
        known = folder.read(path) if (path / folder.PLAN).is_file() else None
        if resumed and levels and not (known and finished(known, known.runs(), known.runs(folder.AGAIN))):
            refuse_other_code(levels[-1])
            resumed = False  # what follows is trained by the code of this process
        sweep = known or _new_level(telescope, level, levels)
        levels.append(search(sweep, say, options))
        require_finished(levels[-1])
    return levels


def _new_level(telescope: Telescope, level: int, before: Sequence[Sweep]) -> Sweep:
    centre = before[-1].settings[winner(before[-1])] if before else {}
    recipe = telescope.recipe_at(level)
    axes = [_valid(axis, telescope, recipe) for axis in telescope.axes_at(level, centre)]
    last = level == len(telescope.values) - 1
    plan = Sweep(
        path=Path(),
        settings=tuple(settings(axes, None, telescope.seed)),
        trials=telescope.trials,
        seed=telescope.seed,
        top=telescope.top,
        again=telescope.again if last else 0,
        on_test=telescope.on_test,
        axes=tuple(map(str, axes)),
    )
    return folder.create_at(telescope.level_path(level), recipe, plan)


def _valid(axis: Axis, telescope: Telescope, recipe: LoadedRecipe) -> Axis:
    """Return ``axis``, moved into the range of the first level if the setting cannot have the values at its ends."""
    try:
        for setting in ends(axis):
            folder.check_setting(recipe, setting, NO_ORIGINS)
    except RecipeError:
        if not axis.log:
            return axis  # within the first level's already
        first = next(each for each in map(parse_axis, telescope.axes) if each.key == axis.key)
        return axis.inside(first)
    return axis


def optima(telescope: Telescope, levels: Sequence[Sweep]) -> dict[str, list[Optimum]]:
    """Return the optimum of each axis with three values or more at each level, on the axis' scale (log₂ or linear)."""
    found: dict[str, list[Optimum]] = {}
    for axis in map(parse_axis, telescope.axes):
        known = [each for sweep in levels if (each := _optimum(axis, sweep)) is not None]
        if len(known) == len(levels):
            found[axis.key] = known
    return found


def _optimum(axis: Axis, sweep: Sweep) -> Optimum | None:
    """Estimate an axis' optimum; with several axes, along the line of the best setting.

    None with fewer than three values whose trials all finished: how badly the others failed says nothing of it.
    """
    best = sweep.settings[winner(sweep)]
    runs = sweep.runs()
    whole = [n for n in range(len(sweep.settings)) if n in runs and runs[n].finished and not runs[n].failed]
    line = [n for n in whole if all(sweep.settings[n][key] == best[key] for key in best if key != axis.key)]
    if len({sweep.settings[n][axis.key] for n in line}) < 3:
        return None
    places = [float(sweep.settings[n][axis.key]) for n in line]
    return optimum([math.log2(p) for p in places] if axis.log else places, [accuracies(runs.get(n)) for n in line])


def in_units(axis: Axis, best: Optimum) -> tuple[float, float, float]:
    """Return an optimum and the ends of its interval as values of the setting."""
    value, low, high = (2.0**v if axis.log else v for v in (best.value, best.low, best.high))
    return value, low, high


def drift(found: Sequence[Optimum]) -> tuple[float, float, float]:
    """Return how far the optimum moves from the first to the last level, with its 95% interval, on its scale."""
    rng = np.random.default_rng(1)
    moves = rng.permutation(found[-1].draws) - found[0].draws
    low, high = np.quantile(moves, [0.025, 0.975])
    return found[-1].value - found[0].value, float(low), float(high)


def drift_lines(telescope: Telescope, found: dict[str, list[Optimum]]) -> list[str]:
    """Return the optimum of each axis at each level, and whether it moves."""
    lines = []
    for axis in map(parse_axis, telescope.axes):
        if axis.key not in found:
            continue
        lines.append(f"best {axis.key}:")
        for value, each in zip(telescope.values, found[axis.key], strict=True):
            at, low, high = in_units(axis, each)
            lines.append(f"  {at:.3g} ({low:.3g} to {high:.3g}) with {telescope.key}={value}")
        lines.append(f"  {drift_text(axis, found[axis.key])}")
    return lines


def drift_text(axis: Axis, found: Sequence[Optimum]) -> str:
    """Say whether an optimum moves from the first level to the last.

    Nothing is claimed where one of the two, or its interval, touches the end of its level's values: the later levels'
    are narrow, and an optimum that was missed there would seem to have moved.
    """
    move, low, high = drift(found)
    unit = " octaves" if axis.log else ""
    if found[0].at_end or found[-1].at_end:
        return f"may move or not ({move:+.2f}{unit}): an optimum or its interval touches the end of the values tried"
    said = "moves" if low > 0 or high < 0 else "is not shown to move:"
    return f"{said} {move:+.2f}{unit} ({low:+.2f} to {high:+.2f}) from the first level to the last"


def write_optima(telescope: Telescope, found: dict[str, list[Optimum]]) -> None:
    """Write the optima into ``optima.json``."""
    kept = {
        axis.key: [_rounded(value, axis, each) for value, each in zip(telescope.values, found[axis.key], strict=True)]
        for axis in map(parse_axis, telescope.axes)
        if axis.key in found
    }
    folder.write_json(telescope.path / "optima.json", kept)


def _rounded(at: str, axis: Axis, best: Optimum) -> dict[str, Any]:
    """Return an optimum as plain values for JSON, to six digits."""
    named = zip(("best", "low", "high"), in_units(axis, best), strict=True)
    return {"at": at, **{name: float(f"{value:.6g}") for name, value in named}}
