"""Trials as jobs: everything needed to train one in any process, and its results."""

from dataclasses import dataclass
from typing import Any

from airbench.recipe import Recipe
from airbench.training.results import TrialResult, TrialSeeds


@dataclass(frozen=True)
class TrialJob:
    """A trial to be trained. It can be pickled and holds everything needed except the images."""

    recipe: Recipe
    seed: int
    index: int
    """Index of the trial in its run, from 0."""
    run: int = 0
    """Index of the recipe in the experiment."""
    path: str = ""
    """The recipe's file, for messages."""
    spectra: bool = False
    """Whether to compute the singular values of the last updates after the trial."""

    @property
    def seeds(self) -> TrialSeeds:
        """Seeds of the trial's sources of randomness."""
        return TrialSeeds.of(self.recipe, self.seed)


@dataclass(frozen=True)
class TrialOutcome:
    """Outcome of a job: a result, or the reason why the trial failed."""

    job: TrialJob
    machine: dict[str, Any]
    """The machine it was trained on."""
    result: TrialResult | None = None
    reason: str = ""
    retries: int = 0
    """How often it was tried again, from the start, because the worker that trained it had died."""

    def as_line(self) -> dict[str, Any]:
        """Return the trial's line in ``trials.jsonl``."""
        line: dict[str, Any] = {"trial": self.job.index, "seed": self.job.seed}
        if self.result is None:
            line |= {"status": "failed", "seeds": vars(self.job.seeds), "reason": self.reason}
        else:
            line |= {"status": "finished", **self.result.as_dict()}
        return {**line, "machine": self.machine} | ({"retries": self.retries} if self.retries else {})


@dataclass(frozen=True)
class TrialExtra:
    """Additional data on a finished trial, computed after its outcome is safe on disk."""

    job: TrialJob
    name: str
    value: Any
