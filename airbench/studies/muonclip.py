"""Attention logits that grow without bound under Muon, and MuonClip, which bounds them: a small transformer."""

import math
import statistics
from dataclasses import dataclass
from itertools import count, islice

import matplotlib
from matplotlib.figure import Figure

from airbench.analysis.figures import COLOURS
from airbench.errors import AirbenchError
from airbench.experiment.worker import Worker
from airbench.optim.optimizers import Optimizers
from airbench.recipe import LoadedRecipe, Recipe
from airbench.studies.result import STYLE, Study
from airbench.training.results import TrialSeeds
from airbench.training.warmup import warm_up

OUT_OF_REACH = 1e9
"""Threshold of the training without the clip, whose logits are so measured but never scaled."""


@dataclass(frozen=True)
class Curve:
    """A training, step by step."""

    largest_logit: list[float]
    """The largest attention logit over all heads of all layers."""
    loss: list[float]
    """The mean over the batch, before the step."""

    @property
    def last(self) -> tuple[float, float, float]:
        """Over the last tenth of the steps: the median and the largest of the largest logits, and the median loss."""
        tail = slice(-max(1, len(self.loss) // 10), None)
        logits = self.largest_logit[tail]
        return statistics.median(logits), max(logits), statistics.median(self.loss[tail])


def study_muonclip(loaded: LoadedRecipe, seed: int = 0) -> Study:
    """Train ``loaded`` once as it is and once with its QK-clip out of reach, from the same weights on the same batches.

    Trains only, step by step. Raises AirbenchError for a recipe without ``qk_clip``, or with averaged weights.
    """
    recipe, worker = loaded.recipe, Worker()
    if recipe.lookahead is not None or recipe.ema is not None:
        raise AirbenchError(f"{loaded.path}: the study follows single steps; set lookahead and ema to null")
    thresholds = [g.qk_clip.threshold for g in recipe.optimizers.values() if g.qk_clip is not None]
    if not thresholds:
        raise AirbenchError(f"{loaded.path}: no group has a qk_clip, so there is nothing to compare")
    curves = {
        "without qk_clip": _train(worker, _without_clip(recipe), loaded, seed),
        "with qk_clip": _train(worker, recipe, loaded, seed),
    }
    rows: list[tuple[str, ...]] = [("last tenth of the steps", "largest logit, median", "largest", "loss, median")]
    for name, curve in curves.items():
        median, most, loss = curve.last
        rows.append((name, f"{median:.1f}", f"{most:.1f}", f"{loss:.3f}"))
    plain, clip = curves.values()
    lowest = min(thresholds)
    return Study(
        "muonclip",
        {"recipe": recipe.name, "seed": seed, "steps": len(plain.loss), "thresholds": thresholds},
        rows,
        {name: vars(curve) for name, curve in curves.items()},
        _figure(recipe.name, curves, thresholds),
        f"Largest attention logit of each of {len(plain.loss)} steps, over all heads. At most, it was "
        f"{max(plain.largest_logit) / lowest:.2f} times the threshold of {lowest:g} without the clip and "
        f"{max(clip.largest_logit) / lowest:.2f} times with it; the clip acts after the step that exceeds it.",
    )


def _without_clip(recipe: Recipe) -> Recipe:
    """Return ``recipe`` with the thresholds out of reach, which trains to the same bits as one without them."""
    groups = {
        name: group.model_copy(update={"qk_clip": group.qk_clip.model_copy(update={"threshold": OUT_OF_REACH})})
        if group.qk_clip is not None
        else group
        for name, group in recipe.optimizers.items()
    }
    return recipe.model_copy(update={"optimizers": groups})


def _train(worker: Worker, recipe: Recipe, loaded: LoadedRecipe, seed: int) -> Curve:
    setup, seeds = worker.setup(recipe, loaded.place_of), TrialSeeds.of(recipe, seed)
    warm_up(setup)
    setup.net.reset(seeds.generator("init"))
    setup.net.train()
    setup.prepare_net()
    take_step, loader, curve = setup.new_step(), setup.new_loader(seeds), Curve([], [])
    setup.selection.start(seeds)
    batches = (batch for _ in count() for batch in loader.epoch(setup.selection.choose))
    for step, batch in enumerate(islice(batches, setup.last_step(seeds))):
        take_step.before(step)
        result = take_step(batch)
        curve.loss.append(result.losses.float().mean().item())
        curve.largest_logit.append(_largest_logit(take_step.optimizers))
    if not all(map(math.isfinite, curve.loss)):
        raise AirbenchError(f"{loaded.path}: the loss is not finite; try a lower lr")
    return curve


def _largest_logit(optimizers: Optimizers) -> float:
    return max(t.qk_clip.seen.max().item() for t in optimizers.trained if t.qk_clip is not None)


def _figure(recipe: str, curves: dict[str, Curve], thresholds: list[float]) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 7), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        for (name, curve), colour in zip(curves.items(), (COLOURS[1], COLOURS[0]), strict=True):
            steps = range(1, len(curve.loss) + 1)
            above.plot(steps, curve.largest_logit, color=colour, linewidth=1.2, label=name)
            below.plot(steps, curve.loss, color=colour, linewidth=1.2, label=name)
        for threshold in thresholds:
            above.axhline(threshold, color="#555555", linewidth=1, linestyle="--", label=f"threshold {threshold:g}")
        above.set_ylabel("largest attention logit of the step")
        above.set_ylim(bottom=0)
        above.legend()
        below.set_ylabel("loss of the step's batch")
        below.set_xlabel("step")
        figure.suptitle(f"Attention logits and loss of {recipe}, with and without QK-clip")
        return figure
