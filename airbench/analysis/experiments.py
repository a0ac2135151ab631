"""Which runs are the same experiment, possibly computed by different engines."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from airbench.analysis.machines import time_notes
from airbench.errors import AirbenchError
from airbench.recipe.engine import Engine
from airbench.recipe.moved import MOVED
from airbench.runs import RunRecord, TrialRecord

Keys = tuple[str, ...]

LABELS: tuple[Keys, ...] = (("name",), ("description",), ("target",))
"""Settings that do not affect training."""

_OLD_PATHS = {new: old for old, new in MOVED.items()}

ENGINE: dict[str, tuple[Keys, ...]] = {
    name: tuple(tuple(path.split(".")) for path in (f"engine.{name}", _OLD_PATHS.get(f"engine.{name}")) if path)
    for name in Engine.model_fields
    if name != "save"
}
"""Settings that say how a trial is computed: their place in a recipe, then their place in older recipes.

What is kept of a trial is none of them.
"""

PATHS: tuple[Keys, ...] = (("data", "path"), ("data", "subset"))
"""Files on one machine; what is in them is identified by fingerprints."""


def same_experiment(a: RunRecord, b: RunRecord, besides: Iterable[Keys] = ()) -> bool:
    """Whether two runs trained the same recipe on the same images, on whatever engine.

    ``besides`` lists further keys in which the recipes may differ. False if a recipe cannot be read.
    """
    if not a.recipe or not b.recipe:
        return False
    for name in ("train_fingerprint", "test_fingerprint", "subset_sha256"):
        images = {run.text("data", name) for run in (a, b)} - {""}
        if len(images) > 1:
            return False
    besides = tuple(besides)
    return _experiment(a.recipe, besides) == _experiment(b.recipe, besides)


def engine_differences(runs: Sequence[RunRecord]) -> list[str]:
    """Differences between the engines of ``runs``, one phrase each, such as "precision bf16 / fp32"."""
    found = []
    for name in ENGINE:
        values = {str(value) for run in runs if (value := engine_setting(run, name)) is not None}
        if len(values) > 1:
            found.append(f"{name} {' / '.join(sorted(values))}")
    return found


def pooling_note(runs: Sequence[RunRecord]) -> list[str]:
    """Lines saying that runs of one recipe were pooled over different engines or machines; none if they were not."""
    notes = time_notes(runs, [run.path.name for run in runs])
    differences = engine_differences(runs)
    if not differences:
        return notes
    return [
        *notes,
        f"accuracies are pooled across engines ({'; '.join(differences)}); "
        "times on different engines are not comparable",
    ]


def refuse_duplicates(runs: Sequence[RunRecord]) -> None:
    """Raise AirbenchError if a trial would count twice: of a run that is named twice, of its copy, or of its repeat."""
    _, duplicates = without_duplicates(runs)
    if duplicates:
        raise AirbenchError(duplicates[0])


def without_duplicates(runs: Sequence[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """Return the runs that hold no trial of a run before them, and for each that is left out a line that says why.

    Trials of one recipe with the same seeds and the same losses to the last bit are one trial, trained once or twice.
    """
    kept: list[RunRecord] = []
    left_out = []
    trials: dict[Any, RunRecord] = {}
    for run in runs:
        if run.path.resolve() in [other.path.resolve() for other in kept]:
            left_out.append(f"{run.path}: is named twice; name each run only once")
            continue
        mine = {key: trial for trial in run.finished if (key := bits(trial)) is not None}
        shared = next((key for key in mine if key in trials and _same_computation(trials[key], run)), None)
        if shared is not None:
            left_out.append(
                f"{trials[shared].path} and {run.path} hold the same trial (seed {mine[shared].seed}), equal to the "
                "last bit: a copy, or the same seeds trained twice; name one of them"
            )
            continue
        kept.append(run)
        for key in mine:
            trials.setdefault(key, run)
    return kept, left_out


def bits(trial: TrialRecord) -> tuple[Any, ...] | None:
    """Return what only the same trial has again: its seeds, accuracies and losses; None if it recorded no losses."""
    losses = tuple(epoch.get("train_loss") for epoch in trial.epochs)
    return (trial.seeds, trial.accuracy, trial.plain_accuracy, losses) if losses and None not in losses else None


def _same_computation(a: RunRecord, b: RunRecord) -> bool:
    return same_experiment(a, b) and not engine_differences([a, b])


def engine_setting(run: RunRecord, name: str) -> Any:
    """Return an engine setting as its trials or the run recorded it, or else as the recipe requested it, or None."""
    of_trials = [trial.machine.get(name) for trial in run.finished if trial.machine]
    if of_trials and all(value is not None and value == of_trials[0] for value in of_trials):
        return of_trials[0]
    used = run.fact("environment", name)
    if used is not None:
        return used
    return next((value for path in ENGINE[name] if (value := run.setting(*path)) is not None), None)


def without_engine(recipe: dict[str, Any], besides: tuple[Keys, ...] = ()) -> dict[str, Any]:
    """Return a copy of the recipe without labels, engine settings and the keys ``besides``."""
    kept = copy.deepcopy(recipe)
    old_engine = (tuple(old.split(".")) for old, new in MOVED.items() if new.startswith("engine."))
    for path in (*LABELS, ("engine",), *PATHS, *old_engine, *besides):
        _drop(kept, path)
    return kept


def _experiment(recipe: dict[str, Any], besides: tuple[Keys, ...]) -> dict[str, Any]:
    kept = without_engine(recipe, besides)
    if isinstance(kept.get("optimizers"), dict):
        kept["optimizers"] = list(kept["optimizers"].items())  # order matters: the first matching pattern wins
    return kept


def _drop(value: Any, path: Keys) -> None:
    for step in path[:-1]:
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value.pop(path[-1], None)
