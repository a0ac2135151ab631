"""The schema of a recipe: type, bounds, meaning and unit of every setting.

The docstring under each setting becomes its description in ``configs/recipe.schema.json``, which editors display.
"""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from airbench.recipe.averages import EMA, Lookahead
from airbench.recipe.config import LARGEST, Config, Count, Epochs, Fraction, Seed
from airbench.recipe.data import Data
from airbench.recipe.engine import Engine
from airbench.recipe.nets import CifarNet, Net
from airbench.recipe.optimizers import OptimizerGroup
from airbench.recipe.schedules import epochs_to_steps
from airbench.recipe.selections import Selection


class Stage(Config):
    """A part of the training in which images are smaller."""

    side: Annotated[int, Field(ge=4, le=1024)]
    """Side to which the images are shrunk, in pixels."""

    until: Annotated[float, Field(gt=0, le=1)]
    """Where the stage ends, as a fraction of the steps."""


class Train(Config):
    """The training loop."""

    batch_size: Annotated[int, Field(ge=2, le=LARGEST)] = 2000
    """Images per step, before `selection`."""

    last_batch: Literal["drop", "carry_over"] = "drop"
    """What becomes of the images that are left at the end of an epoch and do not fill a batch. `drop`: they are not
    shown in this epoch. `carry_over`: the next epoch's first images fill the batch, so that every image is shown in
    every epoch; epochs then end within a batch, and numbers of epochs become steps by rounding up."""

    epochs: Epochs = 8.0
    """Passes over the training images, not necessarily a whole number. A list in a file or on the command line,
    [4, 6, 8], stands for one recipe per length."""

    round_steps: Literal["up", "stochastic"] = "up"
    """How a number of steps that is not whole is rounded. `stochastic`: at random for each trial, up with the
    probability of its fraction, so that the expected number of epochs is exact. Schedules have the length that is
    rounded up."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the target that is spread over all classes. The loss is summed over the batch."""

    label_smoothing_until: Fraction = 1.0
    """Smooth labels until this fraction of the steps, and not after it."""

    selection: Selection | None = None
    """Which images of each batch are trained on. Unset: all of them. Only these are augmented: what mixes images mixes
    these."""

    resolution: Annotated[tuple[Stage, ...], Field(max_length=8)] = ()
    """Stages of progressive resolution, in order: smaller images first, and after the last stage those of the data
    set. Batches are augmented at full size, then shrunk by area averaging, on the clock."""

    stall_epochs: Count = 3
    """A trial fails if its loss is no better than guessing after this many epochs."""

    def steps_per_epoch(self, images: int) -> float:
        """Return how many batches an epoch of so many ``images`` has, not whole if the last one is carried over."""
        return images / self.batch_size if self.last_batch == "carry_over" else images // self.batch_size

    def total_steps(self, images: int) -> int:
        """Return the number of steps of a training on so many ``images``, rounded up."""
        return epochs_to_steps(self.epochs, self.steps_per_epoch(images))

    @model_validator(mode="after")
    def _stages_in_order(self) -> Self:
        ends = [stage.until for stage in self.resolution]
        if any(b <= a for a, b in pairwise(ends)):
            raise ValueError("resolution: each stage must end after the one before it")
        return self


class Evaluate(Config):
    """How test accuracy is evaluated."""

    tta: tuple[Literal["mirror", "translate"], ...] = ("mirror", "translate")
    """Test-time augmentation. `mirror`: average with the mirrored image. `translate`: weight 1/2 on
    the image, 1/4 each on the image shifted by one pixel up-left and down-right. Empty: none."""

    view_weights: Literal["half_centre", "equal"] = "half_centre"
    """Weights of the views of `translate`. `half_centre`: as above. `equal`: 1/3 each."""

    uncertain: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Use test-time augmentation for this fraction of the images only: those whose largest predicted probability
    without it is smallest (Hiverge 2025)."""

    batch_size: Count = 2000
    """Images per forward pass."""

    def without_tta(self) -> "Evaluate":
        """Return this config without test-time augmentation."""
        return self.model_copy(update={"tta": ()})


class Seeds(Config):
    """Seeds that are held fixed over the trials of a run. Unset: trial i with `--seed s` uses s + i."""

    init: Seed | None = None
    """Initial weights."""

    order: Seed | None = None
    """Order of the training images."""

    augment: Seed | None = None
    """Every random choice of the augmentations."""


class Recipe(Config):
    """How to train a net, from images to accuracy."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)] = "recipe"
    """Name of the recipe in tables and run folders. Unset: the file's name."""

    description: str = ""
    """What the recipe is and where its numbers come from."""

    target: Fraction = 0.94
    """Mean test accuracy to reach."""

    engine: Engine = Engine()
    """How the recipe is executed."""

    data: Data = Data()
    """Images and augmentation."""

    net: Net = CifarNet()
    """The net."""

    train: Train = Train()
    """The training loop."""

    optimizers: Annotated[dict[str, OptimizerGroup], Field(min_length=1)]
    """Parameter groups and their optimizers. A parameter belongs to the first group that matches it. `null` removes an
    inherited group."""

    lookahead: Lookahead | None = None
    """Weight averaging during training, whose average the net is reset to. Unset: none."""

    ema: EMA | None = None
    """Weight averaging beside training, whose average is evaluated at the end. Unset: none."""

    evaluate: Evaluate = Evaluate()
    """How test accuracy is evaluated."""

    seeds: Seeds = Seeds()
    """Seeds held fixed over trials."""

    @model_validator(mode="after")
    def _one_average(self) -> Self:
        if self.lookahead is not None and self.ema is not None:
            raise ValueError(
                "lookahead and ema both average the weights; give one of them (null removes an inherited one)"
            )
        return self

    @model_validator(mode="after")
    def _can_be_captured(self) -> Self:
        obstacle = self.not_capturable()
        if self.engine.cuda_graph and obstacle:
            raise ValueError(f"engine.cuda_graph cannot capture {obstacle}")
        return self

    def not_capturable(self) -> str | None:
        """Return what prevents CUDA graph capture of a training step; None if nothing does."""
        for name, group in self.optimizers.items():
            obstacle = group.not_capturable()
            if obstacle:
                return f"{obstacle}, of optimizers.{name}"
        return None

    def of_proxy(self) -> "Recipe | None":
        """Return the recipe of the small net that selects examples, if there is one. It trains on what it selects."""
        selection = self.train.selection
        if selection is None or selection.proxy is None:
            return None
        engine = self.engine.model_copy(update={"cuda_graph": False})
        train = self.train.model_copy(update={"selection": None})
        changed = {"net": selection.proxy.net, "train": train, "engine": engine, "lookahead": None, "ema": None}
        return self.model_copy(update=changed)
