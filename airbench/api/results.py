"""Results of run folders, read and compared."""

import warnings
from pathlib import Path

from airbench.analysis.compare import Comparison, compare_runs
from airbench.analysis.compare import warnings as hard_to_compare
from airbench.errors import AirbenchError
from airbench.runs import RunRecord, find_runs, read_run


def load_run(run: str | Path | RunRecord) -> RunRecord:
    """Read the results of a run folder: ``run.finished`` are its trials, ``run.facts`` how it was trained.

    What was read before is returned as it is.

    Raises AirbenchError if there is none. Damage is no error: ``run.problems`` has a line for each.
    """
    if isinstance(run, RunRecord):
        return run
    if not isinstance(run, str | Path):
        raise AirbenchError(f"{type(run).__name__}: give the path of a run folder, or what load_run returned")
    return read_run(Path(run))


def load_runs(folder: str | Path = "runs") -> list[RunRecord]:
    """Read the results of every run folder below ``folder``, newest first. Raises AirbenchError if it is not there."""
    if not Path(folder).is_dir():
        raise AirbenchError(f"{folder}: no such folder")
    return [read_run(path) for path in find_runs(Path(folder))]


def compare(*runs: str | Path | RunRecord, paired: bool = False) -> list[Comparison]:
    """Compare every pair of runs as ``airbench compare`` does, by Welch's t-test, with Bonferroni's correction.

    ``paired``: by the paired t-test over the seeds that two runs have in common; decide before seeing the results.
    ``verdict`` of a comparison is its conclusion in words, ``accuracy`` the difference with interval and p-value.
    What makes the runs hard to compare, such as other hardware or code, is warned of by the warnings module.
    Raises AirbenchError if the runs cannot be compared.
    """
    read = [load_run(run) for run in runs]
    compared = compare_runs(read, by_seed=paired)
    for line in hard_to_compare(read):
        warnings.warn(line.removeprefix("warning: "), stacklevel=2)
    return compared
