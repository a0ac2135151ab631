"""Timed CIFAR-10 training runs: recipes in YAML, Muon and baselines, sound statistics."""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "Muon": "airbench.optim.muon",
    "newton_schulz": "airbench.optim.orthogonalize",
    "orthogonalize": "airbench.api.orthogonalize",
    "train": "airbench.api.trial",
    "load_recipe": "airbench.api.trial",
    "load_images": "airbench.api.trial",
    "load_net": "airbench.api.runs",
    "load_run": "airbench.api.results",
    "load_runs": "airbench.api.results",
    "compare": "airbench.api.results",
    "load_plugin": "airbench.recipe.plugins",
    **dict.fromkeys(
        (
            "train93",
            "train94",
            "train95",
            "train96",
            "warmup93",
            "warmup94",
            "warmup95",
            "warmup96",
            "infer",
            "evaluate",
        ),
        "airbench.api.classic",
    ),
    "CifarLoader": "airbench.api.loader",
}
__all__ = list(_HOMES)


def __dir__() -> list[str]:
    """Return the public names, for completion in a notebook."""
    return sorted({*__all__, "__version__", "__doc__"})


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that `import airbench` alone does not load torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'airbench' has no attribute {name!r}")
