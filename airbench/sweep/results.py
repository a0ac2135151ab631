"""What came out of a sweep: a table, and the recipe of the best setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from airbench.analysis.statistics import ALPHA, Summary, summarize, welch
from airbench.analysis.summary import table
from airbench.errors import AirbenchError
from airbench.recipe.source import parse_override, short_names
from airbench.runs import RunRecord
from airbench.sweep.axes import Setting, label, overrides
from airbench.sweep.effects import Effects, effect_lines, effects
from airbench.sweep.folder import AGAIN, BEST, RECIPE, Sweep
from airbench.sweep.tpe import importance
from airbench.sweep.trained import Cost, accuracies, best, cost, failures, finished, mean_accuracy, measured


@dataclass(frozen=True)
class Outcome:
    """What came out of a sweep."""

    best: int
    """Number of the best setting."""
    accuracy: Summary | None
    """Of its fresh trials that finished, with an interval that holds jointly for all settings trained again; of those
    in the search if there are no fresh ones. None if all failed."""
    fresh: bool
    """Whether it is of fresh trials."""
    failed: str
    """How many of these trials failed, in words; empty if none did. With failures there is no interval to show."""
    jointly: int
    """Number of settings that were trained again."""
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
    runs, fresh = sweep.runs(), sweep.runs(AGAIN)
    if not finished(sweep, runs, fresh):
        raise AirbenchError(f"{sweep.path}: not finished; airbench sweep --resume {sweep.path}")
    order = best(sweep, len(sweep.settings))
    refused, jointly = sweep.refused(), len(fresh)
    interval = "95% interval, jointly" if jointly > 1 else "95% interval"
    rows: list[tuple[str, ...]] = [("setting", "accuracy in the search", "with fresh seeds", interval)]
    for number in order:
        searched = "cannot be trained" if number in refused else _searched(runs.get(number))
        rows.append((label(sweep.settings[number]), searched, *_fresh(fresh.get(number), jointly)))
    first = winner(sweep)
    run = fresh.get(first) or runs.get(first)
    return Outcome(
        best=first,
        accuracy=summarize(measured(run), 1 - ALPHA / max(1, jointly)) if measured(run) else None,
        fresh=first in fresh,
        failed=failures(run),
        jointly=jointly,
        rows=rows,
        effects=effects(sweep, runs),
        importance=importance(sweep),
        cost=cost(*(sweep, *before)),
        said=[*_verdict(sweep, first, order, fresh), *at_an_end(sweep.settings, first)],
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


def at_an_end(tried: Sequence[Setting], best: int) -> list[str]:
    """Return a line for each axis of three or more numbers whose lowest or highest is that of the ``best`` setting."""
    lines, names = [], short_names(tried[best])
    for key, text in tried[best].items():
        try:
            value, values = float(text), {float(setting[key]) for setting in tried}
        except (KeyError, ValueError):
            continue
        for extreme, word, side in ((min(values), "lowest", "below"), (max(values), "highest", "above")):
            if value == extreme and len(values) > 2:
                lines.append(f"{names[key]}={text} is the {word} value tried: the best may lie {side} it")
    return lines


def _searched(run: RunRecord | None) -> str:
    """Return a setting's accuracy in the search, or why it has none."""
    if run is not None and len(run.failed) == 1 and not run.finished:
        return run.failed[0].reason.partition(" is below")[0].partition(":")[0]
    return _mean(run)


def importance_lines(found: dict[str, float]) -> list[str]:
    """Return a line on the importance of each axis; none if it is not known."""
    if not found:
        return []
    names = short_names(found)
    return ["importance by Optuna: " + ", ".join(f"{names[key]} {share:.0%}" for key, share in found.items())]


def _mean(run: RunRecord | None) -> str:
    """Return the mean of the trials that finished, and how many failed."""
    found = measured(run)
    if not found:
        return failures(run)
    s = summarize(found)
    mean = f"{s.mean:.2%}" + ("" if math.isnan(s.std) else f" ± {s.std:.2%}") + f" (n = {s.n})"
    return ", ".join(part for part in (mean, failures(run)) if part)


def _fresh(run: RunRecord | None, jointly: int) -> tuple[str, str]:
    """Return a setting's mean in fresh trials and its interval, one of so many that hold jointly: the best is chosen
    by the trials that the intervals are of. None where a trial failed: the others are no random sample."""
    if run is None:
        return "", ""
    found = measured(run)
    if run.failed or not found:
        return _mean(run), "-"
    s = summarize(found, 1 - ALPHA / jointly)
    return _mean(run), "-" if math.isnan(s.low) else f"{s.low:.2%} to {s.high:.2%}"


def winner(sweep: Sweep) -> int:
    """Return the number of the best setting: by its fresh trials, if the best of the search were trained again."""
    fresh, order = sweep.runs(AGAIN), best(sweep, sweep.top)
    known = {n: mean_accuracy(found) for n in order if (found := accuracies(fresh.get(n)))}
    return max(known, key=lambda number: known[number]) if known else order[0]


def _verdict(sweep: Sweep, first: int, order: Sequence[int], fresh: dict[int, RunRecord]) -> list[str]:
    lines = []
    if first not in fresh and len(order) > 1:
        lines.append(
            f"its mean is biased upwards, since it was chosen as the highest of {len(order)}: train it again with "
            "fresh seeds before believing it"
        )
    elif first in fresh and failures(fresh[first]):
        lines.append(f"of its fresh trials {failures(fresh[first])}, so it is compared with no other")
    elif first in fresh:
        rivals = [n for n in order if n in fresh and n != first]
        lines += [line for n in rivals for line in _against(sweep, fresh[first], fresh[n], n, len(fresh))]
    if first in fresh and not sweep.on_test:
        lines.append("the images that chose it judge it here too: on others it may do a little worse")
    if sweep.on_test:
        lines.append("settings were judged on the test images: what was chosen so proves nothing on them")
    return lines


def _against(sweep: Sweep, best_run: RunRecord, run: RunRecord, number: int, count: int) -> list[str]:
    """Compare the best of ``count`` settings with another: one of all their pairs, since the data chose the best."""
    name = label(sweep.settings[number])
    if run.failed:
        return [f"  it is not compared with {name}: {failures(run)}"]
    values, rival = measured(best_run), measured(run)
    if len(values) < 2 or len(rival) < 2:
        return []
    found = welch(values, rival, math.comb(count, 2))
    if math.isnan(found.p):
        return []
    told = "is better than" if found.p < ALPHA else "cannot be told from"
    return [f"  it {told} {name}: {found.difference:+.2%} ({found.low:+.2%} to {found.high:+.2%}), p = {found.p:.2g}"]


def write_best(sweep: Sweep) -> None:
    """Write the recipe of the best setting."""
    (sweep.path / BEST).write_text(best_recipe(sweep, winner(sweep)), encoding="utf-8")


def best_recipe(sweep: Sweep, number: int) -> str:
    """Return the recipe of a setting as YAML: its settings, on top of the sweep's recipe, on all training images."""
    values: dict[str, object] = {"name": f"{sweep.recipe().recipe.name[:75]}-best"}
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
