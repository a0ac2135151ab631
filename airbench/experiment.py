"""n trials of one or several recipes, in turn, each recipe into a run folder of its own; and going on with a run."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airbench.analysis.summary import summarize_run, summary_rows, table
from airbench.arithmetic import count_flop, measure_peak
from airbench.data.dataset import Dataset
from airbench.data.sources import genuineness, load_dataset
from airbench.device import choose_machine, prepare
from airbench.environment import describe_environment, describe_source
from airbench.errors import AirbenchError, RecipeError, TrialError
from airbench.optim.routing import describe
from airbench.recipe import LoadedRecipe, dump_recipe, load_recipe
from airbench.runs import RECIPE, RUN, SPECTRA, SUMMARY, RunFolder, RunRecord, read_run
from airbench.terminal import Terminal
from airbench.trial import EpochRow, Trainer, TrialSeeds

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
            raise RecipeError(f"{loaded.source.file}: {error}") from None
        self.terminal.say(f"{recipe.name}: {machine}; {trainer.total_steps} steps of {recipe.train.batch_size} images")
        for line in describe(trainer.routes):
            self.terminal.say(f"  {line}")
        return trainer, self.loaded[key]


def run_experiment(
    recipes: Sequence[LoadedRecipe], *, trials: int, seed: int, out: Path, logger: EpochLogger | None = None
) -> list[RunRecord]:
    """Train every recipe ``trials`` times, in turn (A B A B …), so that drift of the machine hits all alike.

    Trial i of every recipe has seed ``seed`` + i, so that comparisons are paired. A trial that fails is
    recorded and the others go on. Returns the runs, in the order of the recipes.
    """
    terminal = Terminal([each.recipe.name for each in recipes], trials)
    datasets = Datasets(terminal)
    prepared = [datasets.prepare(each) for each in recipes]
    runs = []
    for trainer, dataset in prepared:
        facts, difference = _facts(trainer, dataset, trials, seed)
        folder = RunFolder.create(out, trainer.recipe, facts, difference)
        runs.append(Run(trainer, folder, seed, tuple(range(trials))))
    return _train(runs, terminal, logger)


def resume_experiment(
    paths: Sequence[Path], *, force: bool = False, logger: EpochLogger | None = None
) -> list[RunRecord]:
    """Go on with the runs at ``paths``: only the trials that are missing, with the seeds they would have had.

    Raises AirbenchError if recipe, code, data or machine are not what they were, unless ``force`` is given; what
    had changed is then recorded in ``run.json``.
    """
    records = [read_run(path) for path in paths]
    for record in records:
        if record.planned is None or type(record.fact("seed")) is not int:
            raise AirbenchError(f"{record.path}: cannot be gone on with: {'; '.join(record.problems)}")
    loaded = [load_recipe(record.path / RECIPE) for record in records]
    terminal = Terminal([record.name for record in records], max(record.planned or 0 for record in records))
    datasets = Datasets(terminal)
    runs = []
    for record, recipe in zip(records, loaded, strict=True):
        trainer, dataset = datasets.prepare(recipe)
        now, _ = _facts(trainer, dataset, record.planned or 0, record.facts["seed"], measure=False)
        changed = what_changed(record.facts, now)
        if changed and not force:
            raise AirbenchError(
                f"{record.path}: not gone on with, since it would mix two experiments: {'; '.join(changed)}. "
                "Start a new run, or say --force, which is recorded and ends all claims to a record"
            )
        folder = RunFolder(record.path)
        resumed = [*record.facts.get("resumed", []), {"at": _now(), "changed": changed}]
        folder.write_json(RUN, {**record.facts, "resumed": resumed})
        runs.append(Run(trainer, folder, record.facts["seed"], tuple(record.missing)))
    return _train(runs, terminal, logger)


def _train(runs: Sequence[Run], terminal: Terminal, logger: EpochLogger | None) -> list[RunRecord]:
    for run in runs:
        terminal.say(f"{run.name} → {run.folder.path}")
    terminal.say()
    last = max((trial for run in runs for trial in run.missing), default=-1)
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.folder.locked())
        try:
            for run in runs:
                if run.missing:
                    run.trainer.warm_up()
            for trial in range(last + 1):
                for run in runs:
                    if trial in run.missing:
                        _run_trial(run, trial, terminal, logger)
        finally:  # also after Ctrl-C: what is finished counts
            records = []
            for run in runs:
                record = read_run(run.folder.path)
                run.folder.write_json(SUMMARY, summarize_run(record))
                records.append(record)
            terminal.say()
            for line in table(summary_rows(records)):
                terminal.say(line)
            unfinished = " ".join(str(record.path) for record in records if record.missing)
            if unfinished:
                terminal.say(f"trials are missing; go on with: airbench resume {unfinished}")
    return records


def _run_trial(run: Run, trial: int, terminal: Terminal, logger: EpochLogger | None) -> None:
    seeds = TrialSeeds.of(run.trainer.recipe, run.seed + trial)
    line: dict[str, Any] = {"trial": trial, "seed": run.seed + trial}
    with terminal.trial(run.name, trial + 1) as watcher:
        if logger:
            watcher.listeners.append(lambda row: logger(run.folder.path, trial, row))
        try:
            result = run.trainer.run(seeds, watcher)
        except TrialError as error:
            watcher.failed(str(error))
            run.folder.append_trial({**line, "status": "failed", "seeds": vars(seeds), "reason": str(error)})
            return
        watcher.finished(result)
        run.folder.append_trial({**line, "status": "finished", **result.as_dict()})
    if trial == 0:
        run.folder.write_json(SPECTRA, run.trainer.spectra())


def _facts(
    trainer: Trainer, dataset: Dataset, trials: int, seed: int, *, measure: bool = True
) -> tuple[dict[str, Any], str]:
    """What ``run.json`` holds, and the code's uncommitted changes."""
    source, difference = describe_source()
    facts = {
        "trials_planned": trials,
        "seed": seed,
        "recipe_sha256": hashlib.sha256(dump_recipe(trainer.recipe).encode()).hexdigest(),
        "data": {
            "name": dataset.name,
            "source": Path(dataset.source).name,
            "genuine": dataset.genuine,
            "train_fingerprint": dataset.train.fingerprint,
            "test_fingerprint": dataset.test.fingerprint,
            "train_images": len(trainer.train),
            "test_images": len(trainer.test),
        },
        "steps": trainer.total_steps,
        "routing": {r.group: {"optimizer": r.knobs.name, "params": list(r.names)} for r in trainer.routes},
        "source": source,
        "environment": describe_environment(trainer.machine),
    }
    if measure:
        facts["flop"] = count_flop(trainer.recipe, trainer.total_steps, len(trainer.test), dataset)
        facts["peak"] = measure_peak(trainer.machine.device)
    return facts, difference


SAME = (
    ("recipe_sha256",), ("source", "sha256"), ("steps",),
    ("data", "train_fingerprint"), ("data", "test_fingerprint"), ("data", "train_images"),
    ("environment", "device"), ("environment", "precision"), ("environment", "threads"),
    ("environment", "packages", "torch"),
)  # fmt: skip
"""What must not change between two trials of a run."""


def what_changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Which of the facts in SAME differ, a phrase each."""
    changed = []
    for path in SAME:
        old, new = _at(before, path), _at(now, path)
        if old != new:
            changed.append(f"{'.'.join(path)} was {old} and is {new}")
    return changed


def _at(facts: Any, path: Sequence[str]) -> Any:
    for step in path:
        facts = facts.get(step) if isinstance(facts, dict) else None
    return facts


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
