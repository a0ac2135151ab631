"""Recipes: the schema of every setting, and loading recipes from YAML files."""

from airbench.recipe.load import LoadedRecipe, dump_recipe, load_recipe, load_recipes
from airbench.recipe.schema import Recipe

__all__ = ["LoadedRecipe", "Recipe", "dump_recipe", "load_recipe", "load_recipes"]
