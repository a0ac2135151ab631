"""Names of runs in tables and figures: the recipe's, and what tells runs of one recipe apart."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from airbench.analysis.experiments import ENGINE, engine_setting, without_engine
from airbench.recipe.source import as_word, short_names
from airbench.runs import RunRecord
from airbench.runs.record import one_line

LONGEST = 40
"""Values of settings with more characters do not go into a name."""

Columns = dict[str, list[str]]
"""What may tell runs apart, the most telling first: by kind, a text for each run; empty where it records none."""


def labels(runs: Sequence[RunRecord]) -> list[str]:
    """Return a name for each run, no two alike: its recipe's, with as little as tells runs of one recipe apart.

    Those are settings of the recipe, machine, precision, seeds, settings of the engine, commit, date and time, in this
    order. The folder's name stands for a run that none of them tells from another.
    """
    groups = defaultdict(list)
    for place, run in enumerate(runs):
        groups[run.name].append(place)
    shown = [run.name for run in runs]
    for name, places in groups.items():
        for place, ending in zip(places, _endings([runs[place] for place in places]), strict=True):
            shown[place] = f"{name}, {ending}" if ending else name
    for other in (lambda run: run.path.name, lambda run: str(run.path)):
        count = Counter(shown)
        shown = [one_line(other(run)) if count[label] > 1 else label for run, label in zip(runs, shown, strict=True)]
    return shown


def _endings(runs: Sequence[RunRecord]) -> list[str]:
    """Return what tells each of ``runs`` from the others; empty for a single one."""
    columns = {kind: texts for kind, texts in _columns(runs).items() if len(set(texts)) > 1}
    for kind in reversed(list(columns)):
        rest = {other: texts for other, texts in columns.items() if other != kind}
        if _told_apart(rest) == _told_apart(columns):
            columns = rest
    machine, precision = columns.get("machine"), columns.get("precision")
    if machine and precision:
        columns["machine"] = [" ".join(filter(None, pair)) for pair in zip(machine, precision, strict=True)]
        del columns["precision"]
    return [", ".join(filter(None, texts)) for texts in zip(*columns.values(), strict=True)] or [""] * len(runs)


def _told_apart(columns: Columns) -> int:
    return len(set(zip(*columns.values(), strict=True))) if columns else 1


def _columns(runs: Sequence[RunRecord]) -> Columns:
    chosen, lacking = _settings(runs)
    columns = dict(chosen)
    devices = [run.machines("device") for run in runs]
    columns["machine"] = short_devices([each[0] if len(each) == 1 else "several" for each in devices])
    columns["precision"] = [_engine(run, "precision") for run in runs]
    columns["seeds"] = [_seeds(run) for run in runs]
    for name in ENGINE:
        values = [_engine(run, name) for run in runs]
        if name not in ("device", "precision"):
            columns[f"engine.{name}"] = [value and f"{name}={value}" for value in values]
    commits = [run.text("source", "git_commit")[:7] for run in runs]
    columns |= {**lacking, "commit": [commit and f"commit {commit}" for commit in commits]}
    started = [run.text("started").replace("T", " ") for run in runs]
    return {**columns, "date": [text[:10] for text in started], "time": [text[:16] for text in started]}


def _settings(runs: Sequence[RunRecord]) -> tuple[Columns, Columns]:
    """Return the settings of the recipe that are short and differ between ``runs``; apart, those that some lack.

    A recipe of an older version lacks settings that mean nothing new.
    """
    found = [dict(leaves(without_engine(run.recipe))) for run in runs]
    keys = dict.fromkeys(key for settings in found for key in settings)
    varying = [key for key in keys if len({settings.get(key) for settings in found}) > 1]
    names = short_names(varying)
    chosen: Columns = {}
    lacking: Columns = {}
    for key in varying:
        column = [f"{names[key]}={settings[key]}" if key in settings else "" for settings in found]
        if max(map(len, column)) <= LONGEST:
            (chosen if len({*column} - {""}) > 1 else lacking)[key] = column
    return chosen, lacking


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield every setting in nested mappings: its dotted key, and its value in words."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, str(key)))
    elif path:
        yield ".".join(path), _word(value)


def _word(value: Any) -> str:
    return one_line(f"{value:g}" if isinstance(value, float) else as_word(value))


def _engine(run: RunRecord, name: str) -> str:
    value = engine_setting(run, name)
    return "" if value is None else _word(value)


def _seeds(run: RunRecord) -> str:
    first = run.fact("seed")
    if type(first) is not int or run.planned is None:
        return ""
    return f"seed {first}" if run.planned == 1 else f"seeds {first}–{first + run.planned - 1}"


# ------------------------------------------------------------------------------------------- devices

_VENDOR = re.compile(
    r"\((?:R|TM|C)\)|[®™]|\b(?:NVIDIA|AMD|Intel|GeForce|Tesla|Instinct|Processor|CPU)\b"
    r"|\b\d+(?:st|nd|rd|th) Gen\b|\b\d+-Core\b|\bwith Radeon.*|@ *[\d.]+ *GHz",
    re.IGNORECASE,
)
"""What does not tell one device from another."""

_VARIANT = re.compile(r"[ -](?:SXM\d*|PCIe|NVL|HBM\w*|\d+ ?GB)\b", re.IGNORECASE)
"""Memory and plug of a graphics processor."""

_THREADS = re.compile(r", \d+ threads?$")


def _plain(device: str) -> str:
    return " ".join(_VENDOR.sub(" ", device).split()).replace(" ,", ",").strip(" ,") or device


def _variant(device: str) -> str:
    return _THREADS.sub("", _plain(device))


def _model(device: str) -> str:
    return _VARIANT.sub("", _variant(device)) or device


def _family(device: str) -> str:
    model = _model(device)
    return next((word for word in ("Xeon", "EPYC") if model.startswith(word)), model)


def short_devices(devices: Sequence[str]) -> list[str]:
    """Return names of devices, as short as tells them apart: ``EPYC``, ``EPYC 9R14``, ``EPYC 9R14, 2 threads``."""
    shorter: Callable[[str], str]
    for shorter in (_family, _model, _variant, _plain):
        found = [shorter(device) for device in devices]
        if len(set(found)) == len(set(devices)):
            return found
    return list(devices)
