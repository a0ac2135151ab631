"""Recipes and sweeps that come with airbench, found by name: `airbench94_muon`, wherever below configs/ its file is."""

import os
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent

SUFFIXES = (".yaml", ".yml")

SWEEPS = "sweeps"
"""Folder of the shipped sweeps, which are no recipes, below configs/."""


@cache
def configs_folder() -> Path:
    """Return the folder of the shipped recipes: configs/ beside the package in a checkout, inside it when installed."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


@cache
def shipped_recipes() -> dict[str, Path]:
    """Return the files of the shipped recipes by name, in the order of folders and names."""
    files = sorted(configs_folder().rglob("*.yaml"), key=lambda file: (len(file.parts), file))
    return {file.stem: file for file in files if file.parent.name != SWEEPS}


@cache
def shipped_sweeps() -> dict[str, Path]:
    """Return the files of the shipped sweeps by name."""
    return {file.stem: file for file in sorted((configs_folder() / SWEEPS).glob("*.yaml"))}


def find_shipped(name: str) -> Path | None:
    """Return the file of the shipped recipe called ``name``; None if there is none.

    The name may begin with the folder and end in `.yaml`: ``muon``, ``vit/muon`` and ``vit/muon.yaml`` are the same.

    The path is relative to the working directory where it lies below it, as users would write it.
    """
    return _find(name, shipped_recipes())


def find_shipped_sweep(name: str) -> Path | None:
    """Return the file of the shipped sweep called ``name``, likewise."""
    return _find(name, shipped_sweeps())


def _find(name: str, shipped: dict[str, Path]) -> Path | None:
    if name.startswith("."):  # a file beside another, say
        return None
    stem, suffix = os.path.splitext(name)
    steps = Path(stem if suffix in SUFFIXES else name).parts
    file = shipped.get(steps[-1]) if steps else None
    if file is None or file.with_suffix("").relative_to(configs_folder()).parts[-len(steps) :] != steps:
        return None
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


def locate(path: str | Path) -> Path:
    """Return the recipe file that ``path`` means: itself if there is such a file, else a shipped recipe, by name."""
    path = Path(path)
    found = None if path.is_file() else find_shipped(str(path))
    return found or path
