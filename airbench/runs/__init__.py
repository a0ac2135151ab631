"""Run folders: their content, writing them so that no finished trial is lost, and reading them back.

recipe.yaml     the resolved recipe with every default; `python train.py` accepts it
run.json        seeds, data, routing, environment, source, arithmetic; written before the first trial
source.diff     uncommitted changes to the code, if any
trials.jsonl    one line per trial, written and synced as soon as it ends
summary.json    n, mean, std, interval, times; computed from trials.jsonl, can be recomputed at any time
spectra.json    singular values of the last updates, before and after orthogonalisation
trial-0-weights.pt, trial-0-predictions.npz   the trained net and the test images' logits, with engine.save
"""

from airbench.runs.files import (
    RECIPE,
    RUN,
    SPECTRA,
    SUMMARY,
    TRIALS,
    RunFolderError,
    predictions_name,
    weights_name,
)
from airbench.runs.folder import RunFolder
from airbench.runs.record import RunRecord, TrialRecord, find_runs, parse_trial, read_run

__all__ = [
    "RECIPE", "RUN", "SPECTRA", "SUMMARY", "TRIALS", "RunFolder", "RunFolderError", "RunRecord", "TrialRecord",
    "find_runs", "parse_trial", "predictions_name", "read_run", "weights_name",
]  # fmt: skip
