"""Settings of a sweep as runs: training them, and the accuracies that came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from airbench.analysis.experiments import without_engine
from airbench.analysis.statistics import summarize
from airbench.errors import AirbenchError
from airbench.experiment.environment import describe_source
from airbench.experiment.run import Options, resume_experiment, run_experiment
from airbench.recipe import LoadedRecipe, dump_recipe
from airbench.recipe.source import parse_yaml
from airbench.runs import RECIPE, RunRecord
from airbench.sweep.axes import label
from airbench.sweep.folder import AGAIN, SEARCH, Sweep, name_of
from airbench.text import counted

Say = Callable[[str], None]

FRESH = 1_000_000
"""Added to the seeds of the search for the seeds of the best settings' new trials."""


def train_settings(sweep: Sweep, numbers: Sequence[int], say: Say, options: Options, part: str = SEARCH) -> None:
    """Train what is missing of these settings' runs, in the search or again."""
    refused = sweep.refused()
    numbers = [number for number in numbers if number not in refused]
    begun = sweep.runs(part, numbers)
    again, count = "again, " if part == AGAIN else "", sweep.count or len(sweep.settings)
    said = {n: f"{again}setting {n + 1} of {count}: {label(sweep.settings[n])}" for n in numbers}
    if options.cluster is not None:  # all as one experiment, so that every worker has something to do
        for number in numbers:
            say(f"{said[number]} ({name_of(number)})")
        interrupted = [begun[number].path for number in numbers if number in begun and begun[number].missing]
        if interrupted:
            resume_experiment(interrupted, options=options)
        _begin(sweep, [number for number in numbers if number not in begun], say, options, part)
        return
    for number in numbers:
        run = begun.get(number)
        if run is not None and not run.missing:
            continue
        say(said[number])
        if run is not None:
            resume_experiment([run.path], options=options)
        else:
            _begin(sweep, [number], say, options, part)


def refuse_mixture(sweep: Sweep) -> None:
    """Raise AirbenchError if what a sweep lacks would be trained by other code, or from another recipe, than the rest.

    A sweep that lacks nothing may be read by any code.
    """
    if not finished(sweep, sweep.runs(), sweep.runs(AGAIN)):
        refuse_other_code(sweep)


def refuse_other_code(sweep: Sweep) -> None:
    """Raise AirbenchError if a setting of a sweep was trained by other code, or from another recipe, than there is."""
    runs = [(number, run) for part in (SEARCH, AGAIN) for number, run in sweep.runs(part).items()]
    source = describe_source()[0] if runs else {}
    for number, run in sorted(runs, key=lambda pair: pair[0]):
        what = f"{sweep.path}: setting {number + 1} was {'trained' if run.trials else 'begun'}"
        remedy = "start a new sweep, so that all its settings are trained alike"
        now = parse_yaml(dump_recipe(sweep.recipe_of(number).recipe), RECIPE).plain()
        if without_engine(run.recipe) != without_engine(now):
            raise AirbenchError(f"{what} from another {RECIPE} than there is now; undo the change, or {remedy}")
        changed = any(run.fact("source", name) != source.get(name) for name in ("sha256", "plugins"))
        if run.trials and changed:  # without a trial the run begins anew
            raise AirbenchError(f"{what} by other code, or plugins, than there are now; go back, or {remedy}")


def finished(sweep: Sweep, searched: Mapping[int, RunRecord], fresh: Mapping[int, RunRecord]) -> bool:
    """Return whether all trials of a sweep were trained, in the search and again, by the runs of either."""
    total = (sweep.count or len(sweep.settings)) - len(sweep.refused())
    again = min(sweep.top, total) if sweep.again else 0
    begun = len(searched) >= total and len(fresh) >= again
    return begun and not any(run.missing for run in (*searched.values(), *fresh.values()))


def _begin(sweep: Sweep, numbers: Sequence[int], say: Say, options: Options, part: str) -> None:
    """Begin the runs of these settings. One that does not fit the images or the device is recorded as such."""
    if not numbers:
        return
    by_name = {name_of(number): number for number in numbers}

    def refuse(loaded: LoadedRecipe, why: str) -> None:
        number = by_name[loaded.recipe.name]
        sweep.refuse(number, why)
        say(f"setting {number + 1} cannot be trained: {why}")

    trials, seed = (sweep.trials, sweep.seed) if part == SEARCH else (sweep.again, sweep.seed + FRESH)
    recipes = [sweep.recipe_of(number) for number in numbers]
    run_experiment(recipes, trials=trials, seed=seed, out=sweep.path / part, options=options, refused=refuse)


def accuracies(run: RunRecord | None) -> list[float]:
    """Return the accuracies by which a run's setting is ranked; a failed trial counts as 0: its setting is no good."""
    if run is None:
        return []
    return [trial.accuracy if trial.finished else 0.0 for trial in run.trials]


def measured(run: RunRecord | None) -> list[float]:
    """Return the accuracies of the trials that finished: what can be summarized and tested."""
    return [] if run is None else [trial.accuracy for trial in run.finished]


def failures(run: RunRecord | None) -> str:
    """Return how many of a run's trials failed, in words; empty if none did."""
    return f"{len(run.failed)} of {len(run.trials)} failed" if run is not None and run.failed else ""


def percent(run: RunRecord | None) -> list[float]:
    """Return the accuracies of a run's trials in percent, for a figure; without those that failed."""
    return [100 * accuracy for accuracy in accuracies(run) if accuracy > 0]


def mean_accuracy(values: list[float]) -> float:
    """Return the mean of a setting's accuracies; 0 without any."""
    return summarize(values).mean if values else 0.0


def best(sweep: Sweep, count: int) -> list[int]:
    """Return the numbers of the ``count`` settings of the highest mean accuracy in the search, best first.

    Raises AirbenchError if not all settings were trained.
    """
    means, runs, refused = {}, sweep.runs(), sweep.refused()
    for number in range(len(sweep.settings)):
        values = accuracies(runs.get(number))
        if not values and number not in refused:
            raise AirbenchError(f"{sweep.path}: setting {number + 1} was not trained; airbench sweep --resume")
        means[number] = mean_accuracy(values)
    return sorted(means, key=lambda number: (number in refused, -means[number]))[:count]


def require_finished(sweep: Sweep) -> None:
    """Raise AirbenchError if no trial of any setting finished."""
    if not any(run.finished for run in sweep.runs().values()):
        raise AirbenchError(f"{sweep.path}: no trial of any setting finished, so there is no best one")


@dataclass(frozen=True)
class Cost:
    """What sweeps have cost so far: trials, and the arithmetic and time of those that finished."""

    trials: int
    stopped: int
    """Trials that were pruned or failed."""
    pflop: float
    seconds: float

    def __str__(self) -> str:
        """Return the cost in words."""
        return f"finished trials: {self.trials}{self._unfinished}; {self.spent}"

    @property
    def number(self) -> str:
        """Number of trials in words."""
        return f"{counted(self.trials, 'trial')}{self._unfinished}"

    @property
    def _unfinished(self) -> str:
        return f" (and {self.stopped} pruned or failed, not counted)" if self.stopped else ""

    @property
    def spent(self) -> str:
        """Arithmetic and time in words."""
        return f"{self.pflop:.3g} PFLOP, {_duration(self.seconds)}"


def cost(*sweeps: Sweep) -> Cost:
    """Return what sweeps have cost so far."""
    runs = [run for sweep in sweeps for part in (SEARCH, AGAIN) for run in sweep.runs(part).values()]
    trials = [(run, trial) for run in runs for trial in run.finished]
    arithmetic = sum(run.number("flop", "trial") or 0 for run, _ in trials) / 1e15
    wall = sum(trial.wall_seconds or trial.seconds for _, trial in trials)
    return Cost(len(trials), sum(len(run.failed) for run in runs), arithmetic, wall)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
