"""Train the settings of a sweep, then the best of them again with fresh seeds."""

from collections.abc import Callable, Iterable

from airbench.analysis.statistics import summarize
from airbench.errors import AirbenchError
from airbench.experiment.run import Options, resume_experiment, run_experiment
from airbench.runs import RunRecord
from airbench.sweep.axes import label
from airbench.sweep.folder import AGAIN, SEARCH, Sweep

Say = Callable[[str], None]

FRESH = 1_000_000
"""Added to the seeds of the search for the seeds of the best settings' new trials."""


def search(sweep: Sweep, say: Say, options: Options | None = None) -> None:
    """Train what is missing of a sweep. It can be interrupted at any time and called again."""
    options = options or Options()  # one for all settings, so that images are loaded once
    _train(sweep, range(len(sweep.settings)), SEARCH, sweep.trials, sweep.seed, say, options)
    if sweep.again:
        _train(sweep, best(sweep, sweep.top), AGAIN, sweep.again, sweep.seed + FRESH, say, options)


def _train(sweep: Sweep, numbers: Iterable[int], part: str, trials: int, seed: int, say: Say, options: Options) -> None:
    begun = sweep.runs(part)
    if options.cluster is not None:
        _train_together(sweep, numbers, part, trials, seed, options)
        return
    for number in numbers:
        run = begun.get(number)
        if run is not None and not run.missing:
            continue
        again = "again, " if part == AGAIN else ""
        say(f"\n{again}setting {number + 1} of {len(sweep.settings)}: {label(sweep.settings[number])}")
        if run is not None:
            resume_experiment([run.path], options=options)
        else:
            recipe = sweep.recipe_of(number)
            run_experiment([recipe], trials=trials, seed=seed, out=sweep.path / part, options=options)


def _train_together(sweep: Sweep, numbers: Iterable[int], part: str, trials: int, seed: int, options: Options) -> None:
    """Train all settings as one experiment, so that every worker of a cluster has something to do."""
    begun = sweep.runs(part)
    cut_off = [begun[number].path for number in numbers if number in begun and begun[number].missing]
    if cut_off:
        resume_experiment(cut_off, options=options)
    recipes = [sweep.recipe_of(number) for number in numbers if number not in begun]
    if recipes:
        run_experiment(recipes, trials=trials, seed=seed, out=sweep.path / part, options=options)


def accuracies(run: RunRecord | None) -> list[float]:
    """Return the accuracies of a run's trials; a failed one counts as 0, since its setting is no good."""
    if run is None:
        return []
    return [trial.accuracy if trial.finished else 0.0 for trial in run.trials]


def best(sweep: Sweep, count: int) -> list[int]:
    """Return the numbers of the ``count`` settings of the highest mean accuracy in the search, best first.

    Raises AirbenchError if not all settings were trained.
    """
    means, runs = {}, sweep.runs()
    for number in range(len(sweep.settings)):
        values = accuracies(runs.get(number))
        if not values:
            raise AirbenchError(f"{sweep.path}: setting {number + 1} was not trained; airbench sweep --resume")
        means[number] = summarize(values).mean
    return sorted(means, key=lambda number: -means[number])[:count]
