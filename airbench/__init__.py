"""Timed CIFAR-10 training runs: recipes in YAML, Muon and baselines, sound statistics."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Muon", "load_recipe"]

_HOMES = {"Muon": "airbench.optim.muon", "load_recipe": "airbench.recipe.load"}


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that `import airbench` alone does not load torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'airbench' has no attribute {name!r}")
