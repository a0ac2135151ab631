"""The names of a run's files, and what writing and reading them share."""

import hashlib
from pathlib import Path

from airbench.errors import AirbenchError

FORMAT = 1
"""Raised when a reader of today would misread what is written."""

RUN, RECIPE, TRIALS, SUMMARY, SPECTRA = "run.json", "recipe.yaml", "trials.jsonl", "summary.json", "spectra.json"
MARKS = (RUN, TRIALS, RECIPE)
"""A folder that holds one of these is a run, whole or damaged."""


MOST_TRIALS = 1_000_000
"""More than anybody trains: a larger number in a file is damage."""


class RunFolderError(AirbenchError):
    """A run folder that cannot be written to or read."""


def sha256(file: Path) -> str | None:
    """Of a file's bytes; None if it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
