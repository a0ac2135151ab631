"""Training some trials of a run again: what no edited run folder survives."""

import json
import random
from typing import Any

from airbench.analysis.reruns import Rerun
from airbench.errors import AirbenchError
from airbench.experiment.facts import of_trial, what_changed
from airbench.experiment.jobs import TrialJob, TrialOutcome
from airbench.experiment.recorded import recorded_recipe
from airbench.experiment.run import Experiment
from airbench.recipe.load import data_override
from airbench.runs import RunRecord, parse_trial
from airbench.text import counted

_EXECUTION = ("compile", "cuda_graph", "orthogonalize_kernels")
"""What a trial records of how its steps were executed."""


def rerun_trials(run: RunRecord, count: int, *, data: str | None = None, device: str | None = None) -> list[Rerun]:
    """Train ``count`` finished trials of ``run`` again, chosen at random, with their seeds.

    ``data`` is the path of the images here and ``device`` the device, if they are not the run's. The run folder is
    not changed. Raises AirbenchError if the run has fewer finished trials, or its recipe cannot be trained here.
    """
    if count > len(run.finished):
        raise AirbenchError(
            f"{run.path}: --rerun {count}: only {counted(len(run.finished), 'finished trial')}; ask for no more"
        )
    overrides = [data_override(data)] if data else []
    overrides += [f"engine.device={device}"] if device else []
    loaded = recorded_recipe(run, overrides)
    chosen = sorted(random.SystemRandom().sample(run.finished, count), key=lambda trial: trial.index)
    experiment = Experiment([loaded.recipe.name], count, None)
    now, _ = experiment.facts(loaded, run.planned or count, chosen[0].seed, measure=False)
    jobs = [TrialJob(loaded.recipe, trial.seed, trial.index, path=str(loaded.path)) for trial in chosen]
    recorded = {trial.index: trial for trial in chosen}
    found = []
    try:
        for outcome in experiment.executor.run(jobs, experiment.terminal.watch):
            if isinstance(outcome, TrialOutcome):
                again = parse_trial(json.dumps(outcome.as_line()).encode())
                assert again is not None
                trial = recorded[outcome.job.index]
                changed = what_changed(of_trial(run.facts, trial.machine), now)
                found.append(Rerun(trial, again, (*changed, *_elsewise(trial.machine or {}, again.machine or {}))))
    finally:
        experiment.terminal.close_bar()
    experiment.terminal.say()
    return found


def _elsewise(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return why the bits of a trial may differ on the same machine: executed differently, or not on a CPU."""
    found = [
        f"{key} was {before[key]}, is now {now.get(key)}"
        for key in _EXECUTION
        if key in before and before[key] != now.get(key)
    ]
    device = now.get("device_type", "cpu")
    return [*found, *([] if device == "cpu" else [f"on {device} kernels are chosen anew and may sum in another order"])]
