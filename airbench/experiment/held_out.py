"""Recipes that are to be tuned, and so are judged on training images that are held out."""

from dataclasses import replace

from airbench.data.sources import load_dataset
from airbench.recipe import LoadedRecipe


def with_held_out(loaded: LoadedRecipe, images: int | None = None) -> LoadedRecipe:
    """Return the recipe with so many training images held out; None: as it says itself, or else a tenth of them."""
    data = loaded.recipe.data
    if images is None:
        if data.held_out is not None:
            return loaded
        images = len(load_dataset(data).train) // 10
    return holding_out(loaded, images)


def holding_out(loaded: LoadedRecipe, images: int | None) -> LoadedRecipe:
    """Return the recipe with so many training images held out; None: judged on the test images."""
    data = loaded.recipe.data.model_copy(update={"held_out": images})
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"data": data}))
