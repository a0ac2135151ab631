"""The recipe that a run folder has recorded."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from airbench.errors import RecipeError
from airbench.recipe import load_recipe
from airbench.recipe.load import LoadedRecipe
from airbench.recipe.plugins import loaded_plugins
from airbench.runs import RECIPE, RunRecord


def recorded_recipe(run: RunRecord, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Load the recipe of ``run``, with ``overrides``.

    Raises RecipeError, which also names the plugins that the run was trained with and that are not loaded.
    """
    with missing_plugins_named(lambda: run):
        return load_recipe(run.path / RECIPE, overrides)


@contextmanager
def missing_plugins_named(find: Callable[[], RunRecord | None]) -> Iterator[None]:
    """Add to a RecipeError the plugins of the run that ``find`` returns, if it finds one, that are not loaded."""
    try:
        yield
    except RecipeError as error:
        run = find()
        recorded = None if run is None else run.fact("source", "plugins")
        loaded = {path.name for path in loaded_plugins()}
        missing = [name for name in recorded if name not in loaded] if isinstance(recorded, dict) else []
        if not missing:
            raise
        given = " ".join(f"--plugin {name}" for name in missing)
        remedy = "give the same; in Python, airbench.load_plugin loads it"
        raise RecipeError(f"{error}; trained with {given}: {remedy}") from error
