"""How many steps a recipe takes to reach an accuracy for the first time, while it trains."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from airbench.errors import TrialError
from airbench.experiment.environment import source_hash
from airbench.experiment.worker import Worker
from airbench.optim.optimizers import Optimizers
from airbench.recipe import LoadedRecipe
from airbench.training.callback import Callback
from airbench.training.loop import run_trial
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup

FAILED = 1e9
"""Cost of a trial that failed."""

SPACING = 1.15
"""Factor between the steps after which accuracy is evaluated."""

FIRST = 1 / 40
"""Fraction of the steps before the first evaluation: a target reached earlier is too easy for so long a training."""


@dataclass(frozen=True)
class Progress:
    """Accuracies of a trial, which ends when it reaches its target."""

    points: tuple[tuple[int, float], ...]
    """Steps so far, and the accuracy on held-out images after them, without test-time augmentation."""
    batch_size: int
    target: float
    failure: str = ""

    @property
    def steps(self) -> float:
        """Steps to the target, interpolated linearly in the logarithm of the steps; infinite if not reached."""
        before = (1, 0.0)
        for point in self.points:
            if point[1] >= self.target:
                if point is self.points[0]:
                    return float(point[0])  # nothing is known of the steps before it
                share = (self.target - before[1]) / (point[1] - before[1])
                return float(before[0] * (point[0] / before[0]) ** share)
            before = point
        return math.inf

    @property
    def examples(self) -> float:
        """Examples seen until then."""
        return self.steps * self.batch_size

    @property
    def cost(self) -> float:
        """Steps to the target; where it was not reached, more than those of any trial that reached it."""
        if math.isfinite(self.steps):
            return self.steps
        last, best = max((s for s, _ in self.points), default=1), max((a for _, a in self.points), default=0.0)
        return FAILED if self.failure else last * (2 + self.target - best)


class _Reached(Exception):  # noqa: N818 - not an error
    """Ends a trial that has reached its target."""


class _Evaluate(Callback):
    """Evaluates at geometrically spaced steps, and ends the trial at its target."""

    def __init__(self, target: float):
        self.target, self.next = target, 0
        self.points: list[tuple[int, float]] = []

    def on_start(self, setup: TrialSetup, optimizers: Optimizers) -> None:
        self.setup = setup

    def on_step(self, step: int, total: int) -> None:
        if step < max(self.next, round(FIRST * total)) and step < total:
            return
        self.next = max(step + 1, math.ceil(step * SPACING))
        correct = self.setup.num_correct(self.setup.recipe.evaluate.without_tta())
        self.setup.net.train()
        self.points.append((step, correct.item() / len(self.setup.test)))
        if self.points[-1][1] >= self.target:
            raise _Reached


class StepsToTarget:
    """Trains recipes until they reach a target, and remembers trials in a file, so that a study can go on."""

    def __init__(self, target: float, memory: Path | None = None):
        self.target, self.memory, self.worker = target, memory, Worker()
        self._known, self._source = _read(memory), source_hash()

    def __call__(self, loaded: LoadedRecipe, seed: int) -> Progress:
        """Train ``loaded`` with ``seed`` until it reaches the target, at most for its ``train.epochs``."""
        key = self._key(loaded, seed)
        if key not in self._known:
            self._known[key] = self._train(loaded, seed)
            self._remember(key)
        return self._known[key]

    def _train(self, loaded: LoadedRecipe, seed: int) -> Progress:
        recipe, failure, evaluate = loaded.recipe, "", _Evaluate(self.target)
        setup = self.worker.setup(recipe, loaded.place_of)
        try:
            run_trial(setup, TrialSeeds.of(recipe, seed), evaluate)
        except _Reached:
            pass
        except TrialError as error:
            failure = str(error)
        self.worker.forget(recipe)  # every recipe is trained a few times only, and its net takes memory
        return Progress(tuple(evaluate.points), recipe.train.batch_size, self.target, failure)

    def _key(self, loaded: LoadedRecipe, seed: int) -> str:
        what = f"{loaded.recipe.model_dump_json(exclude={'description'})} {seed} {self.target} {self._source}"
        return hashlib.sha256(what.encode()).hexdigest()[:16]

    def _remember(self, key: str) -> None:
        if self.memory is None:
            return
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        whole = not self.memory.is_file() or self.memory.read_bytes()[-1:] in (b"", b"\n")
        with self.memory.open("a", encoding="utf-8") as file:
            file.write(("" if whole else "\n") + json.dumps({"key": key, **asdict(self._known[key])}) + "\n")


def _read(memory: Path | None) -> dict[str, Progress]:
    """Read the trials of an earlier, interrupted study; a half line at the end is skipped."""
    found: dict[str, Progress] = {}
    lines: Sequence[str] = memory.read_text("utf-8").splitlines() if memory is not None and memory.is_file() else ()
    for line in lines:
        try:
            known = json.loads(line)
            key, points = known.pop("key"), tuple((int(s), float(a)) for s, a in known.pop("points"))
            found[key] = Progress(points=points, **known)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found
