"""Results of run folders, read and compared."""

from pathlib import Path

from airbench.analysis.compare import Comparison, compare_runs
from airbench.runs import RunRecord, find_runs, read_run


def load_run(run: str | Path) -> RunRecord:
    """Read the results of a run folder: ``run.finished`` are its trials, ``run.facts`` how it was trained.

    Raises AirbenchError if there is none. Damage is no error: ``run.problems`` has a line for each.
    """
    return read_run(Path(run))


def load_runs(folder: str | Path = "runs") -> list[RunRecord]:
    """Read the results of every run folder below ``folder``, newest first."""
    return [read_run(path) for path in find_runs(Path(folder))]


def compare(*runs: str | Path | RunRecord, paired: bool = False) -> list[Comparison]:
    """Compare every pair of runs as ``airbench compare`` does, by Welch's t-test, with Bonferroni's correction.

    ``paired``: by the paired t-test over the seeds that two runs have in common; decide before seeing the results.
    ``verdict`` of a comparison is its conclusion in words, ``accuracy`` the difference with interval and p-value.
    Raises AirbenchError if the runs cannot be compared.
    """
    read = [run if isinstance(run, RunRecord) else load_run(run) for run in runs]
    return compare_runs(read, by_seed=paired)
