"""Which run folders belong together: one experiment, whatever the engine that computed it."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from airbench.errors import AirbenchError
from airbench.runs import RunRecord

Keys = tuple[str, ...]

LABELS: tuple[Keys, ...] = (("name",), ("description",), ("target",))
"""Settings that change nothing about the training."""

ENGINE: dict[str, tuple[Keys, ...]] = {
    "device": (("engine", "device"), ("device",)),
    "precision": (("engine", "precision"), ("precision",)),
    "threads": (("engine", "threads"), ("threads",)),
    "tf32": (("engine", "tf32"),),
    "compile": (("engine", "compile"), ("train", "compile")),
    "cuda_graph": (("engine", "cuda_graph"), ("train", "cuda_graph")),
    "fused": (("engine", "fused"), ("net", "fused")),
    "winograd": (("engine", "winograd"), ("net", "winograd")),
}
"""Settings that say how a training is computed, where they are in a recipe and where they were in older ones."""

DATA_PATH: Keys = ("data", "path")
"""Where a machine keeps the images; what they are is known by their fingerprints."""


def same_experiment(a: RunRecord, b: RunRecord, besides: Iterable[Keys] = ()) -> bool:
    """Whether two runs trained the same recipe on the same images, whatever the engine.

    ``besides`` are more keys in which the recipes may differ. False if a recipe cannot be read.
    """
    if not a.recipe or not b.recipe:
        return False
    for name in ("train_fingerprint", "test_fingerprint"):
        images = {run.text("data", name) for run in (a, b)} - {""}
        if len(images) > 1:
            return False
    besides = tuple(besides)
    return _experiment(a.recipe, besides) == _experiment(b.recipe, besides)


def engine_differences(runs: Sequence[RunRecord]) -> list[str]:
    """In which ways the engines of ``runs`` differ, a phrase each, such as "precision bf16 / fp32"."""
    found = []
    for name in ENGINE:
        values = {str(value) for run in runs if (value := _engine(run, name)) is not None}
        if len(values) > 1:
            found.append(f"{name} {' / '.join(sorted(values))}")
    return found


def pooling_note(runs: Sequence[RunRecord]) -> list[str]:
    """What to know about accuracies that are pooled over ``runs`` of one recipe: a line, or none."""
    differences = engine_differences(runs)
    if not differences:
        return []
    return [
        f"accuracies are pooled over different engines ({'; '.join(differences)}); "
        "seconds on different engines cannot be compared"
    ]


def refuse_duplicates(runs: Sequence[RunRecord]) -> None:
    """Raise AirbenchError if one run folder is named twice: its trials would count twice."""
    seen = set()
    for run in runs:
        if run.path.resolve() in seen:
            raise AirbenchError(f"{run.path}: is named twice; name each run once")
        seen.add(run.path.resolve())


def _engine(run: RunRecord, name: str) -> Any:
    """An engine setting: what was used, if the run recorded it, else what the recipe asked for."""
    used = run.fact("environment", name)
    if used is not None:
        return used
    return next((value for path in ENGINE[name] if (value := run.knob(*path)) is not None), None)


def _experiment(recipe: dict[str, Any], besides: tuple[Keys, ...]) -> dict[str, Any]:
    """A recipe without labels, engine and the keys ``besides``."""
    kept = copy.deepcopy(recipe)
    old_engine = (path for paths in ENGINE.values() for path in paths[1:])
    for path in (*LABELS, ("engine",), DATA_PATH, *old_engine, *besides):
        _drop(kept, path)
    if isinstance(kept.get("optimizers"), dict):
        kept["optimizers"] = list(kept["optimizers"].items())  # their order matters: the first match takes a parameter
    return kept


def _drop(value: Any, path: Keys) -> None:
    for step in path[:-1]:
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value.pop(path[-1], None)
