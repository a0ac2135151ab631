"""What a sweep's command line asks for: its settings, as a file gives them and options change them, and its plan."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airbench.cli.recipes import read_recipes, split_items
from airbench.errors import AirbenchError, nearest

if TYPE_CHECKING:
    from airbench.recipe import LoadedRecipe
    from airbench.sweep.config import SweepConfig
    from airbench.sweep.folder import Sweep
    from airbench.sweep.telescope import Telescope


def sweep_config(options: argparse.Namespace) -> "SweepConfig":
    """Return the sweep of the command line: a sweep's file with what is given beside it, or a recipe and axes."""
    from airbench.recipe.shipped import locate, shipped_recipes, shipped_sweeps
    from airbench.sweep.config import SweepConfig, is_sweep, load_sweep

    files, overrides = split_items(options.items)
    config = None
    if len(files) == 1 and is_sweep(files[0]):
        config = load_sweep(files[0])
        options.items = [config.recipe, *overrides]
        files = [config.recipe]
    if not options.axis and config is None:
        if files and not locate(files[0]).is_file():
            near = nearest(Path(files[0]).stem, [*shipped_sweeps(), *shipped_recipes()])
            hint = f"; did you mean {near}?" if near else ""
            raise AirbenchError(f"{files[0]}: no such sweep or recipe{hint}")
        raise AirbenchError("nothing varies; give an axis, such as --axis optimizers.filters.lr=0.1..0.4:log:5")
    if len(files) != 1:
        raise AirbenchError(f"a sweep takes one recipe, not {len(files)}")
    return _changed(config or SweepConfig(recipe=files[0], axes=_axes(options)), options)


def _axes(options: argparse.Namespace) -> dict[str, str]:
    """Return the axes of the command line, by key."""
    from airbench.sweep.axes import parse_axis

    found: dict[str, str] = {}
    for text in options.axis:
        key = parse_axis(text).key
        if key in found:
            raise AirbenchError(f"--axis: {key} is given twice")
        found[key] = text.partition("=")[2]
    return found


def _changed(config: "SweepConfig", options: argparse.Namespace) -> "SweepConfig":
    """Return ``config`` with what the command line gives."""
    from airbench.sweep.axes import split_values
    from airbench.sweep.config import changed

    changes: dict[str, Any] = {
        key: value
        for key in ("trials", "seed", "top", "again", "held_out")
        if (value := getattr(options, key)) is not None
    }
    if options.on_test:
        changes |= {"on_test": True, "held_out": options.held_out}
    elif options.held_out is not None:
        changes["on_test"] = False
    if options.axis:
        changes["axes"] = _axes(options)
    if options.random or options.tpe:
        method = "random" if options.random else "tpe"
        changes |= {"method": method, "settings": options.random or options.tpe, "telescope": None}
    if options.no_prune and (changes.get("method") or config.method) != "tpe":
        raise AirbenchError("--no-prune belongs to --tpe")
    if options.no_prune:
        changes["prune"] = False
    if options.telescope:
        key, equals, values = options.telescope.partition("=")
        if not equals or len(split_values(values)) < 2:
            raise AirbenchError(f"--telescope {options.telescope}: write KEY=a,b with the values from small to large")
        telescope = {"key": key, "values": split_values(values)}
        changes |= {"method": "grid", "settings": None, "telescope": telescope}
    inner = {key: value for key in ("points", "shrink") if (value := getattr(options, key)) is not None}
    if inner and not changes.get("telescope", config.telescope):
        raise AirbenchError("--points and --shrink belong to --telescope")
    if inner:
        old = config.telescope.model_dump() if config.telescope else {}
        changes["telescope"] = {**old, **changes.get("telescope", {}), **inner}
    if options.on_test and options.held_out is not None:
        raise AirbenchError("--on-test judges on the test images and --held-out does not; give one of them")
    return changed(config, changes)


def sweep_plan(config: "SweepConfig") -> "Sweep":
    """Return the sweep that ``config`` describes, not yet in a folder."""
    from airbench.recipe.source import plain_keys
    from airbench.sweep.axes import refuse_twice, settings
    from airbench.sweep.folder import Sweep
    from airbench.sweep.tpe import require_optuna

    axes = config.parsed_axes()
    varied = {key for axis in axes for key in plain_keys(axis.key)}
    by_tpe = config.method == "tpe"
    if by_tpe:
        refuse_twice(axes)  # as settings does
        require_optuna()  # before anything is written
    return Sweep(
        path=Path(),
        settings=() if by_tpe else tuple(settings(axes, config.settings, config.seed)),
        trials=config.trials,
        seed=config.seed,
        top=config.top,
        again=config.again,
        on_test=config.on_test,
        axes=tuple(config.axis_words()),
        count=config.settings if by_tpe else None,
        prune=config.prune and not {"train.epochs", "train.batch_size"} & varied,
    )


def telescope_plan(config: "SweepConfig") -> "Telescope":
    """Return the telescope that ``config`` describes, not yet in a folder."""
    from airbench.recipe.source import as_word
    from airbench.sweep.telescope import Telescope

    assert config.telescope is not None
    return Telescope(
        path=Path(),
        key=config.telescope.key,
        values=tuple(as_word(value) for value in config.telescope.values),
        axes=tuple(config.axis_words()),
        points=tuple(config.telescope.points),
        shrink=config.telescope.shrink,
        trials=config.trials,
        seed=config.seed,
        top=config.top,
        again=config.again,
        on_test=config.on_test,
    )


def judged_recipe(config: "SweepConfig", options: argparse.Namespace) -> "LoadedRecipe":
    """Load the recipe, with images held out to judge on. To count them, they are read."""
    from airbench.experiment.held_out import holding_out, with_held_out

    loaded = varied_recipe(config, options)
    return holding_out(loaded, None) if config.on_test else with_held_out(loaded, config.held_out)


def varied_recipe(config: "SweepConfig", options: argparse.Namespace) -> "LoadedRecipe":
    """Load the recipe whose settings vary."""
    recipes = read_recipes(options, config.parsed_overrides())
    if len(recipes) != 1:
        raise AirbenchError("a sweep varies one recipe; for several lengths: --axis train.epochs=4,8")
    return recipes[0]
