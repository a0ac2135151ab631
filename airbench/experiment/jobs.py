"""A trial as a job: everything that it takes to train it, wherever that is, and what comes of it."""

from dataclasses import dataclass
from typing import Any

from airbench.recipe import Recipe
from airbench.training.results import TrialResult, TrialSeeds


@dataclass(frozen=True)
class TrialJob:
    """A trial to be trained. It can be pickled and holds all that it takes, but for the images."""

    recipe: Recipe
    seed: int
    index: int
    """Of the trial in its run, from 0."""
    run: int = 0
    """Position of the recipe in the experiment."""
    path: str = ""
    """The file that the recipe was read from, for messages."""
    spectra: bool = False
    """Whether to look at the singular values of the last updates, after the trial."""

    @property
    def seeds(self) -> TrialSeeds:
        """The seeds of the trial's sources of randomness."""
        return TrialSeeds.of(self.recipe, self.seed)


@dataclass(frozen=True)
class TrialOutcome:
    """What came of a job: a result, or the reason why the trial failed."""

    job: TrialJob
    machine: dict[str, Any]
    """Where it was trained."""
    result: TrialResult | None = None
    reason: str = ""

    def as_line(self) -> dict[str, Any]:
        """Return the line that ``trials.jsonl`` holds."""
        line: dict[str, Any] = {"trial": self.job.index, "seed": self.job.seed}
        if self.result is None:
            line |= {"status": "failed", "seeds": vars(self.job.seeds), "reason": self.reason}
        else:
            line |= {"status": "finished", **self.result.as_dict()}
        return {**line, "machine": self.machine}


@dataclass(frozen=True)
class TrialExtra:
    """Something about a finished trial that is computed after its outcome is safe on disk."""

    job: TrialJob
    name: str
    value: Any
