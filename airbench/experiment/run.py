"""Run interleaved trials of one or more recipes, with one run folder per recipe, and resume runs."""

import random
import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from airbench.analysis.compare import lines_against_first
from airbench.analysis.summary import arithmetic_lines, summarize_run, summary_rows, table
from airbench.data.dataset import Dataset
from airbench.errors import AirbenchError, RecipeError
from airbench.experiment.cluster.connect import Cluster
from airbench.experiment.cluster.executor import RayExecutor
from airbench.experiment.executors import Executor, SerialExecutor, Watch
from airbench.experiment.facts import Examine, examine, run_facts, what_changed
from airbench.experiment.jobs import TrialExtra, TrialJob, TrialOutcome
from airbench.experiment.live import LiveTerminal
from airbench.experiment.recorded import recorded_recipe
from airbench.experiment.tensorboard import TensorBoard
from airbench.experiment.terminal import Terminal
from airbench.experiment.worker import Worker
from airbench.recipe import LoadedRecipe
from airbench.recipe.load import data_override
from airbench.recipe.plugins import plugin_options
from airbench.runs import (
    RUN,
    SPECTRA,
    SUMMARY,
    RunFolder,
    RunFolderError,
    RunRecord,
    predictions_name,
    read_run,
    weights_name,
)
from airbench.runs.files import named_twice
from airbench.signals import raise_if_interrupted
from airbench.training.callback import Callback, Callbacks


@dataclass(frozen=True)
class Run:
    """A recipe, its run folder, and the trials still to be trained."""

    loaded: LoadedRecipe
    folder: RunFolder
    seed: int
    missing: tuple[int, ...]

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.loaded.recipe.name


@dataclass
class Options:
    """Options of how an experiment is run, as opposed to what is trained."""

    executor: Executor | None = None
    """None: train in this process."""
    tensorboard: TensorBoard | None = None
    callbacks: Sequence[Callback] = field(default_factory=list)
    """Additional callbacks for every trial."""
    datasets: dict[str, Dataset] = field(default_factory=dict)
    """Images that are loaded already. Experiments that share it load images once."""
    cluster: Cluster | None = None
    """Train on the workers of this Ray cluster, all at the same time."""
    brief: bool = False
    """One of many experiments, such as the settings of a sweep: print a line per trial, no summary, and of the setup
    only what an experiment with the same options has not printed yet."""
    said: set[str] = field(default_factory=set)
    """What they have printed of the setup."""


class Experiment:
    """Runs that are trained together, with the terminal and the worker that they share."""

    def __init__(self, names: Sequence[str], trials: int, options: Options | None):
        self.options = options or Options()
        cluster = self.options.cluster
        brief = self.options.brief
        self.terminal = (Terminal if cluster is None else LiveTerminal)(names, trials, brief=brief)
        self.worker = Worker(self.terminal.say, self.options.datasets)
        self.executor: Executor = self.options.executor or SerialExecutor(self.worker)
        self.examine: Examine = partial(examine, self.worker)
        if cluster is not None:
            remote = RayExecutor(cluster, self.worker, self.terminal.say, self.terminal.tick)
            self.executor, self.examine = remote, remote.examine

    def facts(self, loaded: LoadedRecipe, trials: int, seed: int, *, measure: bool) -> tuple[dict[str, Any], str]:
        """Set up a recipe and print its setup. Returns the content of ``run.json`` and the uncommitted changes."""
        say = self.terminal.say
        for old, new in dict.fromkeys(loaded.moved):
            say(f"{loaded.path}: {old} is now called {new}; read as {new}")
        try:
            examined = self.examine(loaded.recipe, measure=measure)
        except RecipeError as error:
            raise RecipeError(f"{loaded.place_of(str(error))}: {error}") from None
        first = not self.options.said
        for line in examined.lines:
            own = line.startswith(f"{loaded.recipe.name}: ")
            if not self.options.brief or first or not (own or line in self.options.said):
                say(line)
            self.options.said.add(line)
        facts, difference = run_facts(examined, trials, seed)
        if facts["data"]["genuine"] and not facts["source"]["committed"] and (first or not self.options.brief):
            say(f"  note: this run cannot be a record, since the code is not committed: {facts['source'].get('note')}")
        return facts, difference

    def train(self, runs: Sequence[Run]) -> list[RunRecord]:
        """Train the missing trials of all runs, recording each as it ends. Returns the runs as read back."""
        if not self.options.brief:
            for run in runs:
                nothing = "" if run.missing else ": no trial is missing; only its summary is written anew"
                self.terminal.say(f"{run.name} → {run.folder.path}{nothing}")
            self.terminal.say()
        jobs = jobs_of(runs, shuffled=self.options.cluster is not None)
        self.terminal.expect(jobs)
        try:
            for outcome in self.executor.run(jobs, self._watch(runs)):
                self._keep(runs[outcome.job.run].folder, outcome)
                raise_if_interrupted()
        finally:  # also after Ctrl-C: finished trials count
            self.terminal.close_bar()
            records = [record for run in runs if (record := self._conclude(run)) is not None]
            if not self.options.brief:
                self._say_summary(records)
        return records

    def _watch(self, runs: Sequence[Run]) -> Watch:
        def watch(job: TrialJob) -> Callback:
            callbacks = [self.terminal.watch(job), *self.options.callbacks]
            if self.options.tensorboard:
                callbacks.append(self.options.tensorboard.watch(runs[job.run].folder.path, job.index))
            return Callbacks(*callbacks)

        return watch

    def _keep(self, folder: RunFolder, outcome: TrialOutcome | TrialExtra) -> None:
        if isinstance(outcome, TrialOutcome):
            folder.append_trial(outcome.as_line())
        elif outcome.name == "spectra":
            folder.write_json(SPECTRA, outcome.value)
        else:
            name = {"weights": weights_name, "predictions": predictions_name}[outcome.name](outcome.job.index)
            try:
                folder.write_bytes(name, outcome.value)
            except RunFolderError as error:
                raise RunFolderError(
                    f"{error}, but the {outcome.name} of trial {outcome.job.index} are lost, and resume does not train "
                    f"it again; for them, free some space and train a new run with --trials 1 --seed {outcome.job.seed}"
                ) from None

    def _conclude(self, run: Run) -> RunRecord | None:
        try:
            record = read_run(run.folder.path)
        except RunFolderError as error:  # the folder is gone; must not hide an earlier error
            self.terminal.say(str(error))
            return None
        try:
            run.folder.write_json(SUMMARY, summarize_run(record))
        except RunFolderError as error:  # must not hide an earlier error; the summary can be recomputed
            self.terminal.say(str(error))
        return record

    def _say_summary(self, records: Sequence[RunRecord]) -> None:
        say = self.terminal.say
        say()
        for line in (*table(summary_rows(records)), *lines_against_first(records), *arithmetic_lines(records)):
            say(line)
        unfinished = " ".join(shlex.quote(str(record.path)) for record in records if record.missing)
        if unfinished:
            say(f"trials are missing; resume with: airbench resume {unfinished}{plugin_options()}")


def jobs_of(runs: Sequence[Run], *, shuffled: bool = False) -> list[TrialJob]:
    """Return the missing trials of all runs, interleaved (A B A B …) so that drift of the machine affects all alike.

    With ``shuffled``, in random order within each round: two devices that each take the next trial as they become free
    would otherwise share the recipes between them, A to one and B to the other. The order is the same every time.
    """
    draw, jobs = random.Random(0), list[TrialJob]()
    for trial in range(max((trial for run in runs for trial in run.missing), default=-1) + 1):
        positions = [position for position, run in enumerate(runs) if trial in run.missing]
        if shuffled:
            draw.shuffle(positions)
        jobs += [_job(runs[position], position, trial) for position in positions]
    return jobs


def _job(run: Run, position: int, trial: int) -> TrialJob:
    return TrialJob(
        recipe=run.loaded.recipe,
        seed=run.seed + trial,
        index=trial,
        run=position,
        path=str(run.loaded.path),
        spectra=trial == run.missing[0] and not (run.folder.path / SPECTRA).exists(),
    )


def run_experiment(
    recipes: Sequence[LoadedRecipe],
    *,
    trials: int,
    seed: int | Sequence[int],
    out: Path,
    options: Options | None = None,
    refused: Callable[[LoadedRecipe, str], None] | None = None,
) -> list[RunRecord]:
    """Run ``trials`` interleaved trials per recipe.

    Trial i of a recipe has seed ``seed`` + i: the same for all recipes, so that comparisons are paired, unless
    ``seed`` is a sequence with one seed per recipe. A failed trial is recorded, and the others continue. Returns the
    runs in the order of the recipes. Raises RecipeError for a recipe that does not fit the images or the device; with
    ``refused``, which is told why, it is left out instead.
    """
    experiment = Experiment([each.recipe.name for each in recipes], trials, options)
    seeds = [seed] * len(recipes) if isinstance(seed, int) else list(seed)
    fitting = []
    for loaded, first in zip(recipes, seeds, strict=True):
        try:
            fitting.append((loaded, first, experiment.facts(loaded, trials, first, measure=True)))
        except RecipeError as error:
            if refused is None:
                raise
            refused(loaded, str(error))
    if not fitting:
        return []
    runs = []
    with ExitStack() as locks:
        for loaded, first, (known, difference) in fitting:
            folder = RunFolder.create(out, loaded.recipe, known, difference)
            locks.enter_context(folder.locked())
            runs.append(Run(loaded, folder, first, tuple(range(trials))))
        return experiment.train(runs)


def resume_experiment(
    paths: Sequence[Path], *, force: bool = False, data: str | None = None, options: Options | None = None
) -> list[RunRecord]:
    """Resume the runs at ``paths``: train only the missing trials, with the seeds they would have had.

    ``data`` is the current path of the images. Raises AirbenchError if recipe, code, data or machine have changed since
    the first trial, unless ``force`` is set; the changes are then recorded in ``run.json``.
    """
    twice = named_twice(paths)
    if twice is not None:
        raise AirbenchError(f"{twice}: is named twice; name each run only once")
    with ExitStack() as locks:
        folders = [RunFolder(read_run(path).path) for path in paths]
        for folder in folders:
            locks.enter_context(folder.locked())  # before reading, so that no other process trains the missing trials
            folder.drop_half_line()
        records = [read_run(path) for path in paths]
        for record in records:
            if record.planned is None or type(record.fact("seed")) is not int:
                raise AirbenchError(f"{record.path}: cannot be resumed: {'; '.join(record.problems)}")
        experiment = Experiment(
            [record.name for record in records], max(record.planned or 0 for record in records), options
        )
        prepared = [_reopened(experiment, *pair, data, force) for pair in zip(records, folders, strict=True)]
        for run, facts, difference in prepared:  # only after none of them was refused
            if run.missing:
                run.folder.write_json(RUN, facts)
            if difference is not None:
                run.folder.write_source_diff(difference)
        return experiment.train([run for run, *_ in prepared])


def _reopened(
    experiment: Experiment, record: RunRecord, folder: RunFolder, data: str | None, force: bool
) -> tuple[Run, dict[str, Any], str | None]:
    """Return the run to resume, and its ``run.json`` with this resumption recorded. Raises AirbenchError.

    Where no trial is missing, nothing is going to be trained: neither machine nor code matters. Where none was trained,
    nothing can be mixed: the run begins here and now, and the uncommitted changes are returned, too.
    """
    loaded = recorded_recipe(record, [] if data is None else [data_override(data)])
    seed: int = record.facts["seed"]
    if not record.missing:
        return Run(loaded, folder, seed, ()), record.facts, None
    if not record.trials and not record.edits:
        facts, difference = experiment.facts(loaded, record.planned or 0, seed, measure=True)
        kept: dict[str, Any] = {key: record.facts.get(key) for key in ("format", "started", "recipe_sha256")}
        return Run(loaded, folder, seed, tuple(record.missing)), {**kept, **facts}, difference
    now, _ = experiment.facts(loaded, record.planned or 0, seed, measure=False)
    changed = what_changed(record.facts, now, elsewhere="ray" in now)
    changed = [*record.edits, *changed]
    if changed and not force:
        raise AirbenchError(
            f"{record.path}: not resumed, because it would mix two experiments: {'; '.join(changed)}. "
            "Start a new run, or use --force, which is recorded and rules out a record"
        )
    before = record.fact("resumed")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"at": at, "changed": changed} | ({"ray": now["ray"]} if "ray" in now else {})
    history = [*(before if isinstance(before, list) else []), entry]
    return Run(loaded, folder, seed, tuple(record.missing)), {**record.facts, "resumed": history}, None
