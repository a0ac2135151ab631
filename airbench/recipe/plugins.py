"""Plugins: Python files that add a user's own components to the registries."""

import importlib.util
import os
import re
import shlex
import sys
import traceback
from collections.abc import Collection
from pathlib import Path

from airbench.errors import RecipeError

_loaded: dict[str, Path] = {}


def load_plugin(path: str | Path) -> None:
    """Run the Python file at ``path``, once per process, so that recipes can use the components it registers.

    Raises RecipeError, in one line, if the file does not exist or raises an exception.
    """
    try:
        file = Path(os.path.realpath(Path(path).expanduser()))
    except RuntimeError:
        raise RecipeError(f"--plugin {path}: no such user's home folder") from None
    name = "airbench_plugin_" + re.sub(r"\W", "_", file.stem)
    if _loaded.get(name) == file:
        return
    if name in _loaded:
        raise RecipeError(f"--plugin {path}: {_loaded[name]} has the same name; rename one of them")
    if not file.is_file() or file.suffix != ".py":
        raise RecipeError(f"--plugin {path}: not found, or not a Python file (*.py)")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its classes can be pickled
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        of_syntax = f"{file}:{error.lineno}" if isinstance(error, SyntaxError) else path
        where = _last_place(error, [file]) or of_syntax
        raise RecipeError(f"--plugin {where}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    _loaded[name] = file


def loaded_plugins() -> tuple[Path, ...]:
    """Return the plugin files loaded so far."""
    return tuple(_loaded.values())


def plugin_options() -> str:
    """Return the options that load the same plugins again, each after a space; empty if there are none."""
    here = Path.cwd()
    paths = (path.relative_to(here) if path.is_relative_to(here) else path for path in loaded_plugins())
    return "".join(f" --plugin {shlex.quote(str(path))}" for path in paths)


def place_in_plugin(error: BaseException) -> str | None:
    """Return file and line of the last call that ``error`` went through in a plugin; None if it went through none."""
    return _last_place(error, loaded_plugins())


def told(error: BaseException) -> str:
    """Return what ``error`` says in one line, after its place if it went through a plugin."""
    place, text = place_in_plugin(error), " ".join(str(error).split())[:200]
    return f"{f'{place}: ' if place else ''}{type(error).__name__}: {text}"


def _last_place(error: BaseException, files: Collection[Path]) -> str | None:
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((f"{frame.filename}:{frame.lineno}" for frame in frames if Path(frame.filename) in files), None)
