"""The recipe that a run folder has recorded."""

from collections.abc import Sequence

from airbench.errors import RecipeError
from airbench.recipe import load_recipe
from airbench.recipe.load import LoadedRecipe
from airbench.recipe.plugins import loaded_plugins
from airbench.runs import RECIPE, RunRecord


def recorded_recipe(run: RunRecord, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Load the recipe of ``run``, with ``overrides``.

    Raises RecipeError, which also names the plugins that the run was trained with and that are not loaded.
    """
    try:
        return load_recipe(run.path / RECIPE, overrides)
    except RecipeError as error:
        recorded = run.fact("source", "plugins")
        loaded = {path.name for path in loaded_plugins()}
        missing = [name for name in recorded if name not in loaded] if isinstance(recorded, dict) else []
        if not missing:
            raise
        given = " ".join(f"--plugin {name}" for name in missing)
        remedy = "give the same; in Python, airbench.load_plugin loads it"
        raise RecipeError(f"{error}; the run was trained with {given}: {remedy}") from error
