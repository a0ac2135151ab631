"""What came out of a sweep: a table, and the recipe of the best setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from airbench.analysis.statistics import summarize, welch
from airbench.analysis.summary import table
from airbench.recipe.source import parse_override, short_names
from airbench.runs import RunRecord
from airbench.sweep.axes import label, overrides
from airbench.sweep.effects import Effects, effect_lines, effects
from airbench.sweep.folder import AGAIN, BEST, RECIPE, Sweep
from airbench.sweep.tpe import importance
from airbench.sweep.trained import Cost, accuracies, best, cost


@dataclass(frozen=True)
class Outcome:
    """What came out of a sweep."""

    best: int
    """Number of the best setting."""
    accuracies: list[float]
    """Of its fresh trials; of those in the search if there are none."""
    fresh: bool
    """Whether they are of fresh trials."""
    rows: list[tuple[str, ...]]
    """A header and a row for each setting, best first."""
    effects: Effects | None
    importance: dict[str, float]
    cost: Cost
    said: list[str]
    """What can be said of the best, and what cannot."""


def outcome_of(sweep: Sweep, before: Sequence[Sweep] = ()) -> Outcome:
    """Return what came out of a sweep. The cost includes that of the sweeps ``before`` it.

    Raises AirbenchError if not all settings were trained.
    """
    order, runs, fresh = best(sweep, len(sweep.settings)), sweep.runs(), sweep.runs(AGAIN)
    refused = sweep.refused()
    rows: list[tuple[str, ...]] = [("setting", "accuracy in the search", "with fresh seeds", "95% interval")]
    for number in order:
        again = accuracies(fresh.get(number))
        searched = "cannot be trained" if number in refused else _searched(runs.get(number))
        rows.append((label(sweep.settings[number]), searched, *_fresh(again)))
    first = winner(sweep)
    return Outcome(
        best=first,
        accuracies=accuracies(fresh.get(first)) or accuracies(runs.get(first)),
        fresh=bool(accuracies(fresh.get(first))),
        rows=rows,
        effects=effects(sweep, runs),
        importance=importance(sweep),
        cost=cost(*(sweep, *before)),
        said=_verdict(sweep, first, order, {n: accuracies(run) for n, run in fresh.items()}),
    )


def result_lines(sweep: Sweep, before: Sequence[Sweep] = ()) -> list[str]:
    """Return what came out of a sweep as lines of text: a table of all settings, best first, and so on."""
    found = outcome_of(sweep, before)
    return [
        *table(found.rows),
        "",
        *(() if found.effects is None else (*effect_lines(found.effects), "")),
        *importance_lines(found.importance),
        f"cost: {found.cost}",
        f"best: {label(sweep.settings[found.best])}",
        *found.said,
    ]


def _searched(run: RunRecord | None) -> str:
    """Return a setting's accuracy in the search, or why it has none."""
    failed = run.failed if run is not None else []
    if failed:
        return failed[0].reason.partition(" is below")[0].partition(":")[0] if len(failed) == 1 else "failed"
    return _mean(accuracies(run))


def importance_lines(found: dict[str, float]) -> list[str]:
    """Return a line on the importance of each axis; none if it is not known."""
    if not found:
        return []
    names = short_names(found)
    return ["importance by Optuna: " + ", ".join(f"{names[key]} {share:.0%}" for key, share in found.items())]


def _mean(values: Sequence[float]) -> str:
    s = summarize(values)
    return f"{s.mean:.2%}" + ("" if math.isnan(s.std) else f" ± {s.std:.2%}") + f" (n = {s.n})"


def _fresh(values: Sequence[float]) -> tuple[str, str]:
    if not values:
        return "", ""
    s = summarize(values)
    return _mean(values), "-" if math.isnan(s.low) else f"{s.low:.2%} to {s.high:.2%}"


def winner(sweep: Sweep) -> int:
    """Return the number of the best setting: by its fresh trials, if the best of the search were trained again."""
    fresh, order = sweep.runs(AGAIN), best(sweep, sweep.top)
    known = {number: summarize(accuracies(fresh[number])).mean for number in order if number in fresh}
    return max(known, key=lambda number: known[number]) if known else order[0]


def _verdict(sweep: Sweep, first: int, order: Sequence[int], fresh: dict[int, list[float]]) -> list[str]:
    lines = []
    values = fresh.get(first, [])
    if not values:
        lines.append(
            f"the best of several noisy means ({len(order)}) flatters itself: train it again with fresh seeds before "
            "believing it"
        )
    rivals = [(n, fresh.get(n, [])) for n in order[: sweep.top] if n != first]
    for number, rival in rivals:
        if len(values) < 2 or len(rival) < 2:
            continue
        found = welch(values, rival, len(rivals))
        if not math.isnan(found.p):
            told = "is better than" if found.p < 0.05 else "cannot be told from"
            lines.append(
                f"  it {told} {label(sweep.settings[number])}: {found.difference:+.2%} "
                f"({found.low:+.2%} to {found.high:+.2%}), p = {found.p:.2g}"
            )
    if sweep.on_test:
        lines.append("settings were judged on the test images: what was chosen so proves nothing on them")
    return lines


def write_best(sweep: Sweep) -> None:
    """Write the recipe of the best setting."""
    (sweep.path / BEST).write_text(best_recipe(sweep, winner(sweep)), encoding="utf-8")


def best_recipe(sweep: Sweep, number: int) -> str:
    """Return the recipe of a setting as YAML: its settings, on top of the sweep's recipe, on all training images."""
    values: dict[str, object] = {}
    for override in overrides(sweep.settings[number]):
        _merge(values, parse_override(override).plain())
    if not sweep.on_test:
        _merge(values, {"data": {"held_out": None}})
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
    return f"extends: {RECIPE}\n{text}"


def _merge(into: dict[str, object], other: dict[str, object]) -> None:
    for key, value in other.items():
        inner = into.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            _merge(inner, value)
        else:
            into[key] = value
