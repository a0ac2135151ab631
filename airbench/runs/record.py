"""Reading a run folder: its valid content, and a list of problems."""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from airbench.recipe.source import Node, parse_yaml
from airbench.runs.chain import broken_links, is_chained, is_partly_chained, printable
from airbench.runs.files import (
    FORMAT,
    MARKS,
    MAX_TRIALS,
    RECIPE,
    RUN,
    SPECTRA,
    TRIALS,
    RunFolderError,
    content,
    sha256,
)


@dataclass(frozen=True)
class TrialRecord:
    """A valid line of ``trials.jsonl``."""

    index: int
    seed: int
    finished: bool
    accuracy: float
    """With test-time augmentation, between 0 and 1; NaN if the trial failed, like the next two."""
    plain_accuracy: float
    seconds: float
    epochs: tuple[dict[str, float], ...]
    reason: str
    """Why the trial failed; empty if it did not."""
    seeds: tuple[int, ...]
    """Seeds of initialisation, order and augmentation."""
    wall_seconds: float | None = None
    """From start to end, evaluations after each epoch included; None if the line does not say."""
    steps: int | None = None
    """Training steps; None if the line does not say."""
    machine: dict[str, Any] | None = None
    """The machine that it was trained on; None if the line does not say."""


@dataclass(frozen=True)
class RunRecord:
    """A run folder as read. ``problems`` has one line per problem found."""

    path: Path
    facts: dict[str, Any]
    """``run.json``; empty if it cannot be read."""
    recipe: dict[str, Any]
    """``recipe.yaml`` as plain values; empty if it cannot be read."""
    trials: tuple[TrialRecord, ...]
    spectra: dict[str, Any]
    problems: tuple[str, ...]
    chained: bool = False
    """Whether each line of ``trials.jsonl`` has hashes (see :mod:`airbench.runs.chain`); broken ones are problems."""
    edits: tuple[str, ...] = ()
    """Those of ``problems`` that tell of recipe or trials that are not as they were written."""

    @property
    def name(self) -> str:
        """The recipe's name."""
        return one_line(str(self.recipe.get("name") or self.path.name))

    @property
    def finished(self) -> list[TrialRecord]:
        """Trials that ended with an accuracy."""
        return [t for t in self.trials if t.finished]

    @property
    def failed(self) -> list[TrialRecord]:
        """Trials that failed."""
        return [t for t in self.trials if not t.finished]

    @property
    def planned(self) -> int | None:
        """Number of trials planned at the start; None if that cannot be read."""
        planned = self.facts.get("trials_planned")
        return planned if type(planned) is int and 0 < planned <= MAX_TRIALS else None

    @property
    def missing(self) -> list[int]:
        """Indices of planned trials without a line."""
        return sorted(set(range(self.planned or 0)) - {t.index for t in self.trials})

    @property
    def target(self) -> float | None:
        """The recipe's target accuracy."""
        target = self.recipe.get("target")
        return float(target) if isinstance(target, int | float) and 0 < target < 1 else None

    def fact(self, *path: str) -> Any:
        """Return the entry of ``run.json`` at ``path``, or None."""
        return entry(self.facts, path)

    def text(self, *path: str) -> str:
        """Return that entry as text; empty if there is none."""
        value = self.fact(*path)
        return "" if value is None else one_line(str(value))

    def machines(self, key: str) -> list[str]:
        """Return ``key`` of the machines that the finished trials record, each once; else that of ``run.json``, if any.

        On a cluster, ``run.json`` describes the worker that was ready first, and others may have trained the trials.
        """
        values = [trial.machine[key] for trial in self.finished if trial.machine and trial.machine.get(key) is not None]
        return list(dict.fromkeys(one_line(str(value)) for value in values)) or [self.text("environment", key)]

    def machine(self, key: str) -> str:
        """Return those, in words; empty if none is recorded."""
        return " / ".join(self.machines(key))

    def number(self, *path: str) -> float | None:
        """Return that entry if it is a finite number, else None."""
        try:
            return _number(self.fact(*path))
        except (ValueError, OverflowError):
            return None

    def setting(self, *path: str) -> Any:
        """Return the entry of the recipe at ``path``, or None."""
        return entry(self.recipe, path)


def one_line(text: str) -> str:
    """Return ``text`` with question marks for what would move a terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() else "?" for c in text)


def entry(value: Any, path: Sequence[str]) -> Any:
    """Return the value at ``path`` in nested mappings, or None if there is none."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def find_runs(root: Path) -> list[Path]:
    """Return every run folder below ``root``, newest first (by name). Follows links, each folder once."""
    found = [folder for folder, _, files in walk(root) if not set(MARKS).isdisjoint(files)]
    return sorted(found, key=lambda path: path.name, reverse=True)


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk the folders below ``root`` as ``os.walk`` does, through links too, but each folder only once."""
    seen = set[str]()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # reached by another link, or by one into itself
            subfolders.clear()
            continue
        seen.add(real)
        yield Path(folder), subfolders, files


def read_run(path: Path) -> RunRecord:
    """Read a run folder. Damage is listed in ``problems``; damaged trials are left out, never guessed.

    Raises RunFolderError only if there is no run at all.
    """
    try:
        found = any((path / name).is_file() for name in MARKS)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read ({error.strerror})") from None
    if not found:
        inside = find_runs(path)
        hint = f"it holds {len(inside)} runs, such as {inside[0]}" if inside else "airbench runs lists runs"
        raise RunFolderError(f"{path}: not a run folder (no {' or '.join(MARKS)} in it); {hint}")
    problems: list[str] = []
    facts = _read_mapping(path / RUN, json.loads, problems)
    version = facts.get("format", FORMAT)  # the first runs have no format number
    if version != FORMAT:
        problems.append(f"{RUN}: format {version!r} was not written by this version of airbench (format {FORMAT})")
        facts = {}
    recipe = _read_mapping(path / RECIPE, _parse_recipe, problems)
    edits: list[str] = []
    if facts.get("recipe_sha256") not in (None, sha256(path / RECIPE)):
        edits.append(f"{RECIPE}: changed since the run was started")
    lines = _read_lines(path / TRIALS, problems)
    trials = _read_trials(lines, problems)
    rows = [line for _, line in lines]
    linked = is_chained(rows)
    if linked:
        broken = broken_links(facts, rows)
        edits += [f"{TRIALS}:{lines[i - 1][0]}: changed, or not the line that was written there" for i in broken]
    elif is_partly_chained(rows):
        edits.append(f"{TRIALS}: some lines have hashes and others have none; it was changed")
    problems += edits
    spectra = _read_mapping(path / SPECTRA, json.loads, problems) if (path / SPECTRA).exists() else {}
    record = RunRecord(path, facts, recipe, tuple(trials), spectra, ())
    if facts and record.planned is None:
        problems.append(f"{RUN}: trials_planned is missing or invalid")
    for trial in trials:
        if record.planned is not None and trial.index >= record.planned:
            problems.append(f"{TRIALS}: trial {trial.index} is beyond the {record.planned} planned")
    return replace(record, problems=tuple(problems), chained=linked, edits=tuple(edits))


def _read_mapping(file: Path, parse: Callable[[str], Any], problems: list[str]) -> dict[str, Any]:
    """Parse a file whose top level is a mapping. The boundary to foreign bytes: any failure is a problem."""
    try:
        value = _clean(parse(content(file).decode("utf-8")))
    except FileNotFoundError:
        problems.append(f"{file.name}: is missing")
        return {}
    except Exception as error:  # parsers raise whatever int(), float() and their tables do
        problems.append(f"{file.name}: cannot be read ({type(error).__name__})")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{file.name}: is not a mapping")
        return {}
    return value


def _clean(value: Any) -> Any:
    """Return plain values that can be printed. Raises ValueError for an integer that no float can hold."""
    _check_integers(value)
    return printable(value)


def _check_integers(value: Any) -> None:
    if isinstance(value, int) and abs(value) >= 2**64:
        raise ValueError("integer out of range")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_integers(item)


def _parse_recipe(text: str) -> Any:
    return _parsed(text).plain()


@lru_cache(maxsize=512)
def _parsed(text: str) -> Node:
    return parse_yaml(text, RECIPE)  # slow, and a sweep reads its runs more than once


def _read_lines(file: Path, problems: list[str]) -> list[tuple[int, bytes]]:
    """Return the lines of a file that are not empty, with their numbers."""
    try:
        lines = content(file).split(b"\n")
    except OSError as error:
        problems.append(f"{file.name}: cannot be read ({error.strerror})")
        return []
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _read_trials(lines: Sequence[tuple[int, bytes]], problems: list[str]) -> list[TrialRecord]:
    trials: dict[int, TrialRecord] = {}
    for number, line in lines:
        trial = parse_trial(line)
        if trial is None:
            problems.append(f"{TRIALS}:{number}: not a trial (incomplete or damaged)")
        elif trial.index in trials:
            problems.append(f"{TRIALS}:{number}: trial {trial.index} appears twice; the first counts")
        else:
            trials[trial.index] = trial
    return [trials[index] for index in sorted(trials)]


def parse_trial(line: bytes) -> TrialRecord | None:
    """Parse a line of ``trials.jsonl``; None if any part of it is invalid."""
    try:
        row = _clean(json.loads(line))
        index, seed, status = row["trial"], row["seed"], row["status"]
        if not all(type(n) is int and n >= 0 for n in (index, seed)):
            return None
        seeds = tuple(row["seeds"].values())
        if status == "failed":
            return TrialRecord(index, seed, False, math.nan, math.nan, math.nan, (), str(row["reason"]), seeds)
        accuracy, plain, seconds = (float(_number(row[key])) for key in ("accuracy", "plain_accuracy", "seconds"))
        wall, steps = row.get("wall_seconds"), row.get("steps")
        wall = None if wall is None else float(_number(wall))
        steps = None if steps is None else int(_number(steps))
        machine = row.get("machine")
        machine = machine if isinstance(machine, dict) else None
        epochs = tuple({key: float(_number(value)) for key, value in epoch.items()} for epoch in row["epochs"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    valid = status == "finished" and 0 <= accuracy <= 1 and 0 <= plain <= 1 and 0 < seconds < MAX_SECONDS
    if not valid:
        return None
    return TrialRecord(index, seed, True, accuracy, plain, seconds, epochs, "", seeds, wall, steps, machine)


MAX_SECONDS = 1e10
"""Three centuries: a larger number means damage."""


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value
