"""Recipes: the schema of every knob, and how a YAML file becomes one."""

from airbench.recipe.load import LoadedRecipe, dump_recipe, load_recipe, load_recipes
from airbench.recipe.schema import Recipe

__all__ = ["LoadedRecipe", "Recipe", "dump_recipe", "load_recipe", "load_recipes"]
