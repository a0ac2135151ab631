"""A recipe at several values of one setting, for an ablation."""

import re
from collections.abc import Sequence
from dataclasses import replace

from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe, load_recipes
from airbench.recipe.source import Node
from airbench.sweep.axes import split_values

_LONGEST = 80
"""Characters of a recipe's name."""


def load_varied(file: str, overrides: Sequence[str | Node], vary: str) -> list[LoadedRecipe]:
    """Load a recipe at each value of ``vary``, ``KEY=a,b,c``, named after the value. Raises AirbenchError."""
    key, _, text = vary.partition("=")
    values = split_values(text)
    if not key or not all(values) or len(set(values)) < max(2, len(values)):
        raise AirbenchError(f"--vary {vary}: write KEY=a,b,c with two or more different values")
    loaded = [(value, each) for value in values for each in load_recipes(file, [*overrides, f"{key}={value}"])]
    for i, (value, each) in enumerate(loaded):
        for other, earlier in loaded[:i]:
            if each.recipe == earlier.recipe:
                raise AirbenchError(f"--vary {vary}: {other} and {value} are the same setting; leave one out")
    names = [_name(each.recipe.name, key, value) for value, each in loaded]
    if len(set(names)) < len(names):  # values that differ only in what a name cannot hold
        names = [f"{name[: _LONGEST - 4]}-{number}" for number, name in enumerate(names, start=1)]
    return [
        replace(each, recipe=each.recipe.model_copy(update={"name": name}))
        for (_, each), name in zip(loaded, names, strict=True)
    ]


def _name(recipe: str, key: str, value: str) -> str:
    """Return the recipe's name with the setting's own and its value: ``airbench94_muon-steps-1``."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-")
    return f"{recipe}-{key.rpartition('.')[2]}-{words}"[:_LONGEST]
