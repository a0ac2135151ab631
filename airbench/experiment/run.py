"""n trials of one or several recipes, in turn, each recipe into a run folder of its own; and going on with a run."""

import json
import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airbench.analysis.compare import against_first
from airbench.analysis.summary import arithmetic_lines, summarize_run, summary_rows, table
from airbench.data.dataset import Dataset
from airbench.data.sources import genuineness, load_dataset
from airbench.device import choose_machine, prepare
from airbench.errors import AirbenchError, RecipeError, TrialError
from airbench.experiment.facts import run_facts, what_changed
from airbench.optim.routing import describe
from airbench.optim.spectra import momentum_spectra
from airbench.recipe import LoadedRecipe, load_recipe
from airbench.runs import RECIPE, RUN, SPECTRA, SUMMARY, RunFolder, RunFolderError, RunRecord, read_run
from airbench.experiment.terminal import Terminal
from airbench.training.trial import EpochRow, Trainer, TrialSeeds

EpochLogger = Callable[[Path, int, EpochRow], None]
"""Told of every epoch: the run's folder, the trial (from 0), the row."""


@dataclass(frozen=True)
class Run:
    """A recipe ready to train, its folder, and the trials that are still to be done."""

    trainer: Trainer
    folder: RunFolder
    seed: int
    missing: tuple[int, ...]

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.trainer.recipe.name


class Datasets:
    """Datasets that several recipes share, loaded once."""

    def __init__(self, terminal: Terminal):
        self.terminal, self.loaded = terminal, dict[str, Dataset]()

    def prepare(self, loaded: LoadedRecipe) -> tuple[Trainer, Dataset]:
        """Set up the machine, load the images, build the net; print what was chosen."""
        recipe = loaded.recipe
        machine = choose_machine(recipe.device, recipe.precision, recipe.threads)
        prepare(machine)
        key = recipe.data.model_copy(update={"augment": None, "train_images": None}).model_dump_json(warnings=False)
        if key not in self.loaded:
            self.loaded[key] = load_dataset(recipe.data)
            self.terminal.say(genuineness(self.loaded[key]))
        try:
            trainer = Trainer(recipe, self.loaded[key], machine)
        except RecipeError as error:
            raise RecipeError(f"{loaded.path}: {error}") from None
        self.terminal.say(f"{recipe.name}: {machine}; {trainer.total_steps} steps of {recipe.train.batch_size} images")
        for line in describe(trainer.routes):
            self.terminal.say(f"  {line}")
        return trainer, self.loaded[key]


def run_experiment(
    recipes: Sequence[LoadedRecipe],
    *,
    trials: int,
    seed: int | Sequence[int],
    out: Path,
    logger: EpochLogger | None = None,
) -> list[RunRecord]:
    """Train every recipe ``trials`` times, in turn (A B A B …), so that drift of the machine hits all alike.

    Trial i of a recipe has seed ``seed`` + i: the same for all, so that comparisons are paired, unless a
    sequence gives each recipe its own. A trial that fails is recorded and the others go on. Returns the runs,
    in the order of the recipes.
    """
    terminal = Terminal([each.recipe.name for each in recipes], trials)
    datasets = Datasets(terminal)
    seeds = [seed] * len(recipes) if isinstance(seed, int) else list(seed)
    prepared = [datasets.prepare(each) for each in recipes]
    facts = [run_facts(trainer, data, trials, first) for (trainer, data), first in zip(prepared, seeds, strict=True)]
    runs = []
    with ExitStack() as locks:
        for (trainer, _), (known, difference), first in zip(prepared, facts, seeds, strict=True):
            folder = RunFolder.create(out, trainer.recipe, known, difference)
            locks.enter_context(folder.locked())
            runs.append(Run(trainer, folder, first, tuple(range(trials))))
        return _train(runs, terminal, logger)


def resume_experiment(
    paths: Sequence[Path], *, force: bool = False, data: str | None = None, logger: EpochLogger | None = None
) -> list[RunRecord]:
    """Go on with the runs at ``paths``: only the trials that are missing, with the seeds they would have had.

    ``data`` says where CIFAR-10 lies now. Raises AirbenchError if recipe, code, data or machine are not what
    they were, unless ``force`` is given; what had changed is then recorded in ``run.json``.
    """
    overrides = [] if data is None else [f"data.path={json.dumps(data)}"]
    with ExitStack() as locks:
        folders = [RunFolder(read_run(path).path) for path in paths]
        for folder in folders:
            locks.enter_context(folder.locked())  # before anything is read: nobody else trains what is missing
            folder.drop_half_line()
        records = [read_run(path) for path in paths]
        for record in records:
            if record.planned is None or type(record.fact("seed")) is not int:
                raise AirbenchError(f"{record.path}: cannot be gone on with: {'; '.join(record.problems)}")
        loaded = [load_recipe(record.path / RECIPE, overrides) for record in records]
        terminal = Terminal([record.name for record in records], max(record.planned or 0 for record in records))
        datasets = Datasets(terminal)
        runs, resumed = [], []
        for record, folder, recipe in zip(records, folders, loaded, strict=True):
            trainer, dataset = datasets.prepare(recipe)
            now, _ = run_facts(trainer, dataset, record.planned or 0, record.facts["seed"], measure=False)
            changed = [p for p in record.problems if p.startswith(RECIPE)] + what_changed(record.facts, now)
            if changed and not force:
                raise AirbenchError(
                    f"{record.path}: not gone on with, since it would mix two experiments: {'; '.join(changed)}. "
                    "Start a new run, or say --force, which is recorded and ends all claims to a record"
                )
            before = record.fact("resumed")
            history = [*(before if isinstance(before, list) else []), {"at": _now(), "changed": changed}]
            resumed.append((folder, {**record.facts, "resumed": history}))
            runs.append(Run(trainer, folder, record.facts["seed"], tuple(record.missing)))
        for folder, facts in resumed:  # only now that none of them was refused
            folder.write_json(RUN, facts)
        return _train(runs, terminal, logger)


def _train(runs: Sequence[Run], terminal: Terminal, logger: EpochLogger | None) -> list[RunRecord]:
    for run in runs:
        terminal.say(f"{run.name} → {run.folder.path}")
    terminal.say()
    last = max((trial for run in runs for trial in run.missing), default=-1)
    try:
        for run in runs:
            if run.missing:
                _warm_up(run)
        for trial in range(last + 1):
            for run in runs:
                if trial in run.missing:
                    _run_trial(run, trial, terminal, logger)
    finally:  # also after Ctrl-C: what is finished counts
        records = [_conclude(run, terminal) for run in runs]
        terminal.say()
        rows, column = summary_rows(records), against_first(records)
        if column:
            rows = [(*row, cell) for row, cell in zip(rows, column, strict=True)]
        for line in (*table(rows), *arithmetic_lines(records)):
            terminal.say(line)
        unfinished = " ".join(shlex.quote(str(record.path)) for record in records if record.missing)
        if unfinished:
            terminal.say(f"trials are missing; go on with: airbench resume {unfinished}")
    return records


def _warm_up(run: Run) -> None:
    try:
        run.trainer.warm_up()
    except TrialError as error:
        raise AirbenchError(f"{run.name}: {error}") from None


def _conclude(run: Run, terminal: Terminal) -> RunRecord:
    record = read_run(run.folder.path)
    try:
        run.folder.write_json(SUMMARY, summarize_run(record))
    except RunFolderError as error:  # must not hide what else went wrong; the summary can be made again
        terminal.say(str(error))
    return record


def _run_trial(run: Run, trial: int, terminal: Terminal, logger: EpochLogger | None) -> None:
    seeds = TrialSeeds.of(run.trainer.recipe, run.seed + trial)
    line: dict[str, Any] = {"trial": trial, "seed": run.seed + trial}
    with terminal.trial(run.name, trial + 1) as view:
        if logger:
            view.listeners.append(lambda row: logger(run.folder.path, trial, row))
        try:
            result = run.trainer.run(seeds, view)
        except TrialError as error:
            run.folder.append_trial({**line, "status": "failed", "seeds": vars(seeds), "reason": str(error)})
            view.failed(str(error))
            return
        run.folder.append_trial({**line, "status": "finished", **result.as_dict()})  # first of all
        view.finished(result)
    optimizers = run.trainer.optimizers
    if optimizers and not (run.folder.path / SPECTRA).exists():
        spectra = momentum_spectra(optimizers)
        if spectra:
            run.folder.write_json(SPECTRA, spectra)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
