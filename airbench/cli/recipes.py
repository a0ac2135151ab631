"""Recipes that a command line names, and the command that lists those that are shipped."""

import argparse
import os
import textwrap
from collections.abc import Sequence
from typing import Any

from airbench.cli.arguments import load_plugins
from airbench.cli.explain import first_sentence
from airbench.cli.vary import load_varied
from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe, load_recipe, load_recipes
from airbench.recipe.load import data_override
from airbench.recipe.shipped import configs_folder, shipped_recipes
from airbench.recipe.source import Node


def add_commands(commands: Any) -> None:
    """Add ``recipes``."""
    recipes = commands.add_parser(
        "recipes", help="list the shipped recipes", description="List the shipped recipes, and where their files are."
    )
    recipes.set_defaults(command=lambda options: _list_recipes())


def split_items(items: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split items into files or folders, and overrides (items with a ``=`` that are not files).

    Raises AirbenchError for an empty one, which would otherwise mean the current folder.
    """
    if not all(map(str.strip, items)):
        raise AirbenchError("an empty word among recipes, runs and overrides; is a variable of the shell unset?")
    overrides = [item for item in items if "=" in item and not os.path.exists(item)]
    return [item for item in items if item not in overrides], overrides


def read_recipes(options: argparse.Namespace, before: Sequence[Node] = ()) -> list[LoadedRecipe]:
    """Load the recipes in ``options.items``, with the overrides in it applied, after those of ``before``.

    Raises AirbenchError.
    """
    files, given = split_items(options.items)
    overrides: list[str | Node] = [*before, *given]
    load_plugins(options)
    if not files:
        raise AirbenchError("no recipe given; try: airbench train speedrun")
    for key in ("device", "precision", "threads", "save"):
        value = getattr(options, key)
        if value is not None:
            overrides.append(f"engine.{key}={value}")
    if getattr(options, "ray_threads", None) is not None:
        overrides.append(f"engine.threads={options.ray_threads}")  # recorded, so that other executors use as many
    if options.epochs is not None:
        overrides.append(
            f"train.epochs=[{options.epochs}]" if "," in options.epochs else f"train.epochs={options.epochs}"
        )
    if options.data is not None:
        overrides.append(data_override(options.data))
    vary = getattr(options, "vary", None)
    if vary is not None:
        return [loaded for file in files for loaded in load_varied(file, overrides, vary)]
    return [loaded for file in files for loaded in load_recipes(file, overrides)]


def _list_recipes() -> int:
    folder, heading = configs_folder(), ""
    width = max(map(len, shipped_recipes()))
    for name, file in shipped_recipes().items():
        if (kind := file.parent.relative_to(folder).as_posix()) != heading:
            heading = kind
            print(f"\n{heading}/")
        sentence = textwrap.shorten(first_sentence(load_recipe(file).recipe.description), 110, placeholder=" …")
        print(f"  {name:<{width}}  {sentence}")
    print(f"\nTheir files are in {folder}")
    return 0
