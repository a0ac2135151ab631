"""A run's folder: what it holds, how it is written so that nothing finished is lost, how it is read back.

recipe.yaml     the resolved recipe, every default written out: `python train.py` takes it again
run.json        seeds, data, routing, environment, source
source.diff     uncommitted changes of the code, if there were any
trials.jsonl    one line a trial, written and synced the moment that it ends
summary.json    n, mean, std, interval, times
"""

import json
import os
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airbench.analysis.statistics import summarize
from airbench.errors import AirbenchError
from airbench.recipe import Recipe, dump_recipe


class RunFolderError(AirbenchError):
    """A run folder that cannot be written to or read."""


class RunFolder:
    """A run on disk."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, root: Path, recipe: Recipe, facts: dict[str, Any], source_diff: str = "") -> "RunFolder":
        """Make ``root/<date>-<time>-<recipe>`` and write all that is known before the first trial.

        Raises RunFolderError where it cannot be written.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        try:
            folder = cls(_new_folder(root, f"{stamp}-{recipe.name}"))
            folder._write("recipe.yaml", dump_recipe(recipe))
            folder._write("run.json", _pretty({"started": datetime.now(UTC).isoformat(timespec="seconds"), **facts}))
            if source_diff:
                folder._write("source.diff", source_diff + "\n")
            (folder.path / "trials.jsonl").touch()
        except OSError as error:
            raise RunFolderError(
                f"{root}: no run folder can be written there ({error.strerror}); give another place with --out"
            ) from None
        return folder

    def append_trial(self, line: dict[str, Any]) -> None:
        """Add a line to ``trials.jsonl`` and wait until it is on disk.

        Raises RunFolderError, with the line in it so that it is not lost, where the disk refuses it.
        """
        text = json.dumps(line, allow_nan=False, default=str)
        file = self.path / "trials.jsonl"
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                before = os.fstat(descriptor).st_size
                data = (text + "\n").encode()
                if before and os.pread(descriptor, 1, before - 1) != b"\n":
                    data = b"\n" + data  # an earlier line was cut short: keep this one whole
                if os.write(descriptor, data) != len(data):
                    os.ftruncate(descriptor, before)
                    raise OSError(28, "No space left on device")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RunFolderError(
                f"{file}: cannot be written ({error.strerror}); the finished trial was: {text}"
            ) from None

    def trials(self) -> list[dict[str, Any]]:
        """The lines of ``trials.jsonl``; lines that were cut short are left out."""
        rows = []
        try:
            text = (self.path / "trials.jsonl").read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise RunFolderError(f"{self.path}: is no run folder ({error.strerror})") from None
        for line in text.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.get("status") in ("finished", "failed"):
                rows.append(row)
        return rows

    def write_summary(self, target: float) -> dict[str, Any]:
        """Summarise the trials into ``summary.json`` and return what was written."""
        summary = summarize_trials(self.trials(), target)
        try:
            self._write("summary.json", _pretty(summary))
        except OSError as error:
            raise RunFolderError(
                f"{self.path / 'summary.json'}: cannot be written ({error.strerror}); all trials are in trials.jsonl"
            ) from None
        return summary

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all."""
        with tempfile.NamedTemporaryFile("w", dir=self.path, delete=False, encoding="utf-8") as stream:
            try:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                Path(stream.name).unlink(missing_ok=True)
                raise
        os.chmod(stream.name, 0o644)
        os.replace(stream.name, self.path / name)


def summarize_trials(trials: list[dict[str, Any]], target: float) -> dict[str, Any]:
    """Accuracy and time over the finished trials; how many failed; whether the mean reaches ``target``."""
    finished = [t for t in trials if t["status"] == "finished"]
    summary: dict[str, Any] = {
        "trials": len(trials), "finished": len(finished), "failed": len(trials) - len(finished),
        "target": target, "target_reached": None, "accuracy": None, "plain_accuracy": None, "seconds": None,
    }  # fmt: skip
    if finished:
        for key in ("accuracy", "plain_accuracy", "seconds"):
            values = asdict(summarize([t[key] for t in finished]))
            summary[key] = {k: None if v != v else v for k, v in values.items()}  # JSON has no NaN
        summary["target_reached"] = summary["accuracy"]["mean"] >= target and not summary["failed"]
    return summary


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


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"
