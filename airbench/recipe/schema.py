"""The schema of a recipe: every setting typed, bounded, and explained with its unit.

The docstring under each setting becomes its description in ``configs/recipe.schema.json``, which editors show.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from airbench.recipe.config import Config, Fraction, Positive, Seed
from airbench.recipe.data import Data
from airbench.recipe.engine import Engine
from airbench.recipe.nets import CifarNet, Net
from airbench.recipe.optimizers import Lookahead, OptimizerGroup


class Train(Config):
    """The training loop."""

    batch_size: Annotated[int, Field(ge=2)] = 2000
    """Images in a step. The last, incomplete batch of an epoch is dropped."""

    epochs: Positive = 8.0
    """Passes over the training images; need not be whole. A list in a file or on the command line, [4, 6, 8],
    stands for a recipe of each length."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the target that is spread over all classes. The loss is summed over the batch."""

    stall_epochs: Annotated[int, Field(ge=1)] = 3
    """A trial fails if its loss is no better than guessing after so many epochs."""


class Evaluate(Config):
    """Test accuracy."""

    tta: tuple[Literal["mirror", "translate"], ...] = ("mirror", "translate")
    """Test-time augmentation. `mirror`: average with the mirrored image. `translate`: half the weight on
    the image, a quarter each on it moved one pixel up-left and down-right. Empty: none."""

    view_weights: Literal["half_centre", "equal"] = "half_centre"
    """Weights of the views of `translate`. `half_centre`: as above. `equal`: a third each."""

    uncertain: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Use test-time augmentation for this share of the images only: those of which the net is least certain without
    it, by its largest probability (Hiverge 2025)."""

    batch_size: Annotated[int, Field(ge=1)] = 2000
    """Images in one forward pass."""

    def without_tta(self) -> "Evaluate":
        """Return the same without test-time augmentation."""
        return self.model_copy(update={"tta": ()})


class Seeds(Config):
    """Hold a source of randomness fixed over the trials of a run. Unset: trial i of `--seed s` uses s + i."""

    init: Seed | None = None
    """Initial weights."""

    order: Seed | None = None
    """Order in which training images are shown."""

    augment: Seed | None = None
    """Every random choice of the augmentations."""


class Recipe(Config):
    """How to train a net, from images to accuracy."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)] = "recipe"
    """What tables and run folders call it. Unset: the file's name."""

    description: str = ""
    """What the recipe is and where its numbers come from."""

    target: Fraction = 0.94
    """Mean test accuracy that the run is for."""

    engine: Engine = Engine()
    """How it is computed."""

    data: Data = Data()
    """Images and augmentation."""

    net: Net = CifarNet()
    """The net."""

    train: Train = Train()
    """The training loop."""

    optimizers: Annotated[dict[str, OptimizerGroup], Field(min_length=1)]
    """Groups of parameters and what trains each. A parameter goes to the first group that matches it. `null` removes
    an inherited group."""

    lookahead: Lookahead | None = None
    """Weight averaging during training. Unset: none."""

    evaluate: Evaluate = Evaluate()
    """How test accuracy is taken."""

    seeds: Seeds = Seeds()
    """Randomness held fixed."""

    @model_validator(mode="after")
    def _can_be_captured(self) -> Self:
        obstacle = self.not_capturable()
        if self.engine.cuda_graph and obstacle:
            raise ValueError(f"engine.cuda_graph cannot capture {obstacle}")
        return self

    def not_capturable(self) -> str | None:
        """Return what keeps a CUDA graph from capturing a training step; None if nothing does."""
        for name, group in self.optimizers.items():
            obstacle = group.not_capturable()
            if obstacle:
                return f"{obstacle}, of optimizers.{name}"
        return None
