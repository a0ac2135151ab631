"""A run's folder: what it holds, how it is written so that nothing finished is lost, how it is read back.

recipe.yaml     the resolved recipe, every default written out: `python train.py` takes it again
run.json        seeds, data, routing, environment, source, arithmetic; written before the first trial
source.diff     uncommitted changes of the code, if there were any
trials.jsonl    one line a trial, written and synced the moment that it ends
summary.json    n, mean, std, interval, times: made from the lines above, and made anew at will
spectra.json    singular values of the last updates, before and after orthogonalisation
"""

from airbench.runs.files import RECIPE, RUN, SPECTRA, SUMMARY, TRIALS, RunFolderError
from airbench.runs.folder import RunFolder
from airbench.runs.record import RunRecord, TrialRecord, find_runs, read_run

__all__ = [
    "RECIPE", "RUN", "SPECTRA", "SUMMARY", "TRIALS", "RunFolder", "RunFolderError", "RunRecord", "TrialRecord",
    "find_runs", "read_run",
]  # fmt: skip
