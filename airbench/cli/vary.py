"""A recipe at several values of a setting, or of several, for an ablation."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe, load_recipes
from airbench.recipe.source import Node, short_names, twice
from airbench.sweep.axes import overrides as as_overrides
from airbench.sweep.axes import split_values

_LONGEST = 80
"""Characters of a recipe's name."""


def load_varied(file: str, overrides: Sequence[str | Node], vary: Sequence[str]) -> list[LoadedRecipe]:
    """Load a recipe at every combination of the values of ``vary``, each ``KEY=a,b,c``, named after its values.

    Raises AirbenchError.
    """
    axes = [_axis(text) for text in vary]
    shown, repeated = short_names(key for key, _ in axes), twice(key for key, _ in axes)
    if repeated is not None:
        raise AirbenchError(f"--vary: {repeated} is given twice; write all its values in one: KEY=a,b,c")
    loaded = []
    for values in itertools.product(*(values for _, values in axes)):
        setting = {key: value for (key, _), value in zip(axes, values, strict=True)}
        loaded += [(setting, each) for each in load_recipes(file, [*overrides, *as_overrides(setting)])]
    for i, (setting, each) in enumerate(loaded):
        for other, earlier in loaded[:i]:
            if each.recipe == earlier.recipe:
                pair = " and ".join(", ".join(one.values()) for one in (other, setting))
                raise AirbenchError(f"--vary {' --vary '.join(vary)}: {pair} are the same setting; leave one out")
    names = [_name(each.recipe.name, {shown[key]: value for key, value in s.items()}) for s, each in loaded]
    if len(set(names)) < len(names):  # values that differ only in what a name cannot hold
        names = [f"{name[: _LONGEST - 4]}-{number}" for number, name in enumerate(names, start=1)]
    return [
        replace(each, recipe=each.recipe.model_copy(update={"name": name}))
        for (_, each), name in zip(loaded, names, strict=True)
    ]


def _axis(text: str) -> tuple[str, list[str]]:
    key, _, listed = text.partition("=")
    values = split_values(listed)
    if not key or not all(values) or len(set(values)) < max(2, len(values)):
        raise AirbenchError(f"--vary {text}: write KEY=a,b,c with two or more different values")
    return key, values


def _name(recipe: str, setting: dict[str, str]) -> str:
    """Return the recipe's name with the settings' own and their values: ``airbench94_muon-steps-1``."""
    words = [f"{key}-{value}" for key, value in setting.items()]
    return "-".join([recipe, *(re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-") for word in words)])[:_LONGEST]
