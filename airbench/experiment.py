"""n trials of one or several recipes, in turn, each recipe into a run folder of its own."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airbench.data.dataset import Dataset
from airbench.data.sources import genuineness, load_dataset
from airbench.device import choose_machine, prepare
from airbench.environment import describe_environment, describe_source
from airbench.errors import RecipeError, TrialError
from airbench.optim.routing import describe
from airbench.recipe import LoadedRecipe, Recipe
from airbench.runs import RunFolder
from airbench.terminal import Terminal, summary_table
from airbench.trial import Trainer, TrialSeeds


@dataclass(frozen=True)
class Run:
    """A recipe ready to train, and its folder."""

    recipe: Recipe
    trainer: Trainer
    folder: RunFolder


def run_experiment(
    loaded: Sequence[LoadedRecipe], *, trials: int, seed: int, out: Path, quiet: bool = False
) -> list[dict[str, Any]]:
    """Train every recipe ``trials`` times, in turn (A B A B …), so that drift of the machine hits all alike.

    Trial i of every recipe has seed ``seed`` + i, so that comparisons are paired. A trial that fails is
    recorded and the others go on. Returns the summaries, in the order of the recipes.
    """
    names = [each.recipe.name for each in loaded]
    terminal = Terminal(names, trials)
    datasets: dict[str, Dataset] = {}
    trainers = [_prepare(each, datasets, terminal, quiet=quiet) for each in loaded]
    runs = [
        Run(
            trainer.recipe,
            trainer,
            _create_folder(out, trainer, datasets[_images(trainer.recipe)], trials, seed),
        )
        for trainer in trainers
    ]
    for run in runs:
        terminal.say(f"{run.recipe.name} → {run.folder.path}")
    terminal.say()
    try:
        for trial in range(trials):
            for run in runs:
                if trial == 0:
                    run.trainer.warm_up()
                _run_trial(run, trial, seed, terminal)
    finally:  # also after Ctrl-C: what is finished counts
        summaries = [run.folder.write_summary(run.recipe.target) for run in runs]
        terminal.say()
        for line in summary_table(list(zip(names, summaries, strict=True))):
            terminal.say(line)
    return summaries


def _images(recipe: Recipe) -> str:
    return recipe.data.model_copy(update={"augment": None, "train_images": None}).model_dump_json()


def _prepare(loaded: LoadedRecipe, datasets: dict[str, Dataset], terminal: Terminal, *, quiet: bool) -> Trainer:
    recipe = loaded.recipe
    machine = choose_machine(recipe.device, recipe.precision, recipe.threads)
    prepare(machine)
    key = _images(recipe)
    if key not in datasets:
        datasets[key] = load_dataset(recipe.data, quiet=quiet)
        terminal.say(genuineness(datasets[key]))
    try:
        trainer = Trainer(recipe, datasets[key], machine)
    except RecipeError as error:
        raise RecipeError(f"{loaded.source.file}: {error}") from None
    terminal.say(f"{recipe.name}: {machine}; {trainer.total_steps} steps of {recipe.train.batch_size} images")
    for line in describe(trainer.routes):
        terminal.say(f"  {line}")
    return trainer


def _create_folder(out: Path, trainer: Trainer, dataset: Dataset, trials: int, seed: int) -> RunFolder:
    source, difference = describe_source()
    facts = {
        "trials_planned": trials,
        "seed": seed,
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
    return RunFolder.create(out, trainer.recipe, facts, difference)


def _run_trial(run: Run, trial: int, seed: int, terminal: Terminal) -> None:
    seeds = TrialSeeds.of(run.recipe, seed + trial)
    terminal.start_trial(run.recipe.name, trial + 1)
    line: dict[str, Any] = {"trial": trial, "seed": seed + trial}
    result, failure = None, ""
    try:
        result = run.trainer.run(seeds, terminal)
        line.update(status="finished", **result.as_dict())
    except TrialError as error:
        failure = str(error)
        line.update(status="failed", seeds=vars(seeds), reason=failure)
    except KeyboardInterrupt:
        with suppress(Exception):
            terminal.end_trial(None, "interrupted; it is not recorded")
        raise
    run.folder.append_trial(line)
    terminal.end_trial(result, failure)
