"""Search the settings of a sweep, then train the best of them again with fresh seeds."""

from dataclasses import replace

from airbench.experiment.run import Options
from airbench.runs.folder import locked
from airbench.sweep import folder
from airbench.sweep.folder import AGAIN, RECIPE, Sweep
from airbench.sweep.trained import Say, best, refuse_mixture, train_settings


def search(sweep: Sweep, say: Say, options: Options | None = None) -> Sweep:
    """Train what is missing of a sweep, and return it with all its settings.

    It can be interrupted at any time and called again, with the same code and recipe. Raises AirbenchError if not, or
    if another process is training it.
    """
    with locked(sweep.path / RECIPE, "sweep"):
        return _search(folder.read(sweep.path), say, options)


def _search(sweep: Sweep, say: Say, options: Options | None) -> Sweep:
    refuse_mixture(sweep)
    options = replace(options or Options(), brief=True)  # one for all settings, so that images are loaded once
    if sweep.count is None:
        train_settings(sweep, range(len(sweep.settings)), say, options)
    else:
        from airbench.sweep.tpe import search_by_tpe  # an optional dependency

        sweep = search_by_tpe(sweep, say, options)
    if sweep.again:
        train_settings(sweep, best(sweep, sweep.top), say, options, AGAIN)
    return sweep
