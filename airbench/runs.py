"""A run's folder: what it holds, how it is written so that nothing finished is lost, how it is read back.

recipe.yaml     the resolved recipe, every default written out: `python train.py` takes it again
run.json        seeds, data, routing, environment, source, arithmetic; written before the first trial
source.diff     uncommitted changes of the code, if there were any
trials.jsonl    one line a trial, written and synced the moment that it ends
summary.json    n, mean, std, interval, times: made from the lines above, and made anew at will
spectra.json    singular values of the last updates, before and after orthogonalisation
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from airbench.errors import AirbenchError
from airbench.recipe import Recipe, dump_recipe

FORMAT = 1
"""Raised when a reader of today would misread what is written."""

RUN, RECIPE, TRIALS, SUMMARY, SPECTRA = "run.json", "recipe.yaml", "trials.jsonl", "summary.json", "spectra.json"
_MARKS = (RUN, TRIALS, RECIPE)
"""A folder that holds one of these is a run, whole or damaged."""


MOST_TRIALS = 1_000_000
"""More than anybody trains: a larger number in a file is damage."""


class RunFolderError(AirbenchError):
    """A run folder that cannot be written to or read."""


# ------------------------------------------------------------------------------------------- writing


class RunFolder:
    """A run on disk, being written."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, root: Path, recipe: Recipe, facts: dict[str, Any], source_diff: str = "") -> "RunFolder":
        """Make ``root/<date>-<time>-<recipe>`` and write all that is known before the first trial.

        Raises RunFolderError where it cannot be written.
        """
        now = datetime.now(UTC)
        try:
            folder = cls(_new_folder(root, f"{now:%Y%m%d-%H%M%S}-{recipe.name}"))
        except OSError as error:
            raise RunFolderError(
                f"{root}: no run folder can be written there ({error.strerror}); give another place with --out"
            ) from None
        folder.write(RECIPE, dump_recipe(recipe))
        start = {"format": FORMAT, "started": now.isoformat(timespec="seconds")}
        folder.write_json(RUN, {**start, "recipe_sha256": _sha256(folder.path / RECIPE), **facts})
        if source_diff:
            folder.write("source.diff", source_diff + "\n")
        (folder.path / TRIALS).touch()
        return folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training into this folder. Raises RunFolderError if one does already."""
        try:
            file = open(self.path / TRIALS, "a")  # noqa: SIM115 - closed below; it is held open for the lock
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be trained into ({error.strerror})") from None
        with file:
            try:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:  # no such locks on this system
                pass
            except OSError:
                raise RunFolderError(f"{self.path}: another process is training into it") from None
            yield

    def drop_half_line(self) -> None:
        """Remove a last line that was cut short: its trial was never finished, and is about to be trained anew."""
        file = self.path / TRIALS
        content = file.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(file, content.rfind(b"\n") + 1)

    def append_trial(self, line: dict[str, Any]) -> None:
        """Add a line to ``trials.jsonl`` and wait until it is on disk.

        Raises RunFolderError, with the line in it so that it is not lost, where the disk refuses it.
        """
        text = json.dumps(line, allow_nan=False)
        file = self.path / TRIALS
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                before = os.fstat(descriptor).st_size
                data = (text + "\n").encode()
                if before and os.pread(descriptor, 1, before - 1) != b"\n":
                    data = b"\n" + data  # an earlier line was cut short: keep this one whole
                try:
                    if os.write(descriptor, data) != len(data):
                        raise OSError(28, "No space left on device")
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, before)
                    raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RunFolderError(
                f"{file}: cannot be written ({error.strerror}); make room, then go on with airbench resume "
                f"{self.path}; the finished trial was: {text}"
            ) from None

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file, whole or not at all. Raises RunFolderError."""
        self.write(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a file, whole or not at all. Raises RunFolderError."""
        temporary = None
        try:
            with tempfile.NamedTemporaryFile("w", dir=self.path, delete=False, encoding="utf-8") as stream:
                temporary = Path(stream.name)
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, self.path / name)
        except OSError as error:
            if temporary:
                temporary.unlink(missing_ok=True)
            raise RunFolderError(
                f"{self.path / name}: cannot be written ({error.strerror}); finished trials are safe in {TRIALS}"
            ) from None


def _new_folder(root: Path, name: str) -> Path:
    for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
        path = root / (name + suffix)
        try:
            path.mkdir(parents=True)  # fails if it exists: two runs never share a folder
            return path
        except FileExistsError:
            if not root.is_dir():
                raise
    raise FileExistsError(17, "too many runs in one second")


# ------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class TrialRecord:
    """A line of ``trials.jsonl`` that is what it should be."""

    index: int
    seed: int
    finished: bool
    accuracy: float
    """With test-time augmentation, as a share of 1; NaN if the trial failed, like the next two."""
    plain_accuracy: float
    seconds: float
    epochs: tuple[dict[str, float], ...]
    reason: str
    """Why it failed."""
    seeds: tuple[int, ...]
    """Of initialisation, order and augmentation."""


@dataclass(frozen=True)
class RunRecord:
    """A run folder as it is found. ``problems`` says what is wrong with it, a line each."""

    path: Path
    facts: dict[str, Any]
    """``run.json``; empty if it cannot be read."""
    recipe: dict[str, Any]
    """``recipe.yaml`` as plain values; empty if it cannot be read."""
    trials: tuple[TrialRecord, ...]
    spectra: dict[str, Any]
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """The recipe's name."""
        return str(self.recipe.get("name") or self.path.name)

    @property
    def finished(self) -> list[TrialRecord]:
        """Trials that ended with an accuracy."""
        return [t for t in self.trials if t.finished]

    @property
    def failed(self) -> list[TrialRecord]:
        """Trials that were stopped."""
        return [t for t in self.trials if not t.finished]

    @property
    def planned(self) -> int | None:
        """How many trials the run was started for; None if that cannot be read."""
        planned = self.facts.get("trials_planned")
        return planned if type(planned) is int and 0 < planned <= MOST_TRIALS else None

    @property
    def missing(self) -> list[int]:
        """Indices of planned trials that have no line yet."""
        return sorted(set(range(self.planned or 0)) - {t.index for t in self.trials})

    @property
    def target(self) -> float | None:
        """The recipe's target accuracy."""
        target = self.recipe.get("target")
        return float(target) if isinstance(target, int | float) and 0 < target < 1 else None

    def fact(self, *path: str) -> Any:
        """The entry of ``run.json`` at ``path``, or None."""
        value: Any = self.facts
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def text(self, *path: str) -> str:
        """The same as text; empty if there is none."""
        value = self.fact(*path)
        return "" if value is None else str(value)

    def number(self, *path: str) -> float | None:
        """The same if it is a finite number, else None."""
        try:
            return _number(self.fact(*path))
        except (ValueError, OverflowError):
            return None

    def knob(self, *path: str) -> Any:
        """The entry of the recipe at ``path``, or None."""
        value: Any = self.recipe
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value


def find_runs(root: Path) -> list[Path]:
    """Every folder below ``root`` that holds one of a run's files, newest name first."""
    found = {file.parent for name in _MARKS for file in root.rglob(name)}
    return sorted(found, key=lambda path: path.name, reverse=True)


def read_run(path: Path) -> RunRecord:
    """Read a run folder. What is damaged is named in ``problems``; a trial is never made up.

    Raises RunFolderError only where there is no run at all.
    """
    try:
        found = any((path / name).is_file() for name in _MARKS)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read ({error.strerror})") from None
    if not found:
        raise RunFolderError(f"{path}: is no run folder (it holds no {', '.join(_MARKS)}); airbench runs lists them")
    problems: list[str] = []
    facts = _read_mapping(path / RUN, json.loads, problems)
    version = facts.get("format", FORMAT)  # the first runs were written before there was a number
    if version != FORMAT:
        problems.append(f"{RUN}: format {version!r} was not written by this version of airbench (format {FORMAT})")
        facts = {}
    recipe = _read_mapping(path / RECIPE, yaml.safe_load, problems)
    if facts.get("recipe_sha256") not in (None, _sha256(path / RECIPE)):
        problems.append(f"{RECIPE}: was changed since the run was started")
    trials = _read_trials(path / TRIALS, problems)
    spectra = _read_mapping(path / SPECTRA, json.loads, problems) if (path / SPECTRA).exists() else {}
    record = RunRecord(path, facts, recipe, tuple(trials), spectra, ())
    if facts and record.planned is None:
        problems.append(f"{RUN}: trials_planned is missing or no sensible number")
    for trial in trials:
        if record.planned is not None and trial.index >= record.planned:
            problems.append(f"{TRIALS}: trial {trial.index} is beyond the {record.planned} planned")
    return RunRecord(path, facts, recipe, tuple(trials), spectra, tuple(problems))


def _sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _read_mapping(file: Path, parse: Any, problems: list[str]) -> dict[str, Any]:
    try:
        value = parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"{file.name}: is missing")
        return {}
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        problems.append(f"{file.name}: cannot be read ({type(error).__name__})")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{file.name}: is no mapping")
        return {}
    return value


def _read_trials(file: Path, problems: list[str]) -> list[TrialRecord]:
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        problems.append(f"{file.name}: cannot be read ({error.strerror})")
        return []
    trials: dict[int, TrialRecord] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        trial = _parse_trial(line)
        if trial is None:
            problems.append(f"{file.name}:{number}: is no trial (cut short or damaged)")
        elif trial.index in trials:
            problems.append(f"{file.name}:{number}: trial {trial.index} is there twice; the first counts")
        else:
            trials[trial.index] = trial
    return [trials[index] for index in sorted(trials)]


def _parse_trial(line: bytes) -> TrialRecord | None:
    """The trial that a line holds, or None if any part of it is not what it should be."""
    try:
        row = json.loads(line)
        index, seed, status = row["trial"], row["seed"], row["status"]
        if not all(type(n) is int and n >= 0 for n in (index, seed)):
            return None
        seeds = tuple(row["seeds"].values())
        if status == "failed":
            return TrialRecord(index, seed, False, math.nan, math.nan, math.nan, (), str(row["reason"]), seeds)
        accuracy, plain, seconds = (float(_number(row[key])) for key in ("accuracy", "plain_accuracy", "seconds"))
        epochs = tuple({key: float(_number(value)) for key, value in epoch.items()} for epoch in row["epochs"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    fine = status == "finished" and 0 <= accuracy <= 1 and 0 <= plain <= 1 and seconds > 0
    return TrialRecord(index, seed, True, accuracy, plain, seconds, epochs, "", seeds) if fine else None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value
