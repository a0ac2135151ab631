"""The schema of learning-rate schedules: the factor on a group's lr as the run goes on."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from airbench.recipe.knobs import Fraction, Knobs, NonNegative, Positive


class Constant(Knobs):
    """The learning rate stays where it is."""

    name: Literal["constant"]
    """This schedule."""


class Lasting(Knobs):
    """What schedules that come to an end have in common."""

    epochs: Positive | None = None
    """Length in epochs, after which the factor stays at `end`. Unset: the whole run."""

    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Length as a fraction of the run, instead of `epochs`. Unset: the whole run."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.fraction is not None:
            raise ValueError("give epochs or fraction, not both")
        return self


class Falling(Lasting):
    """What schedules that go one way have in common."""

    start: NonNegative = 1.0
    """Factor on the group's lr at the first step."""

    end: NonNegative = 0.0
    """Factor on the group's lr that is arrived at when the schedule's length has passed."""


class Linear(Falling):
    """The learning rate moves in a straight line."""

    name: Literal["linear"]
    """This schedule."""


class Cosine(Falling):
    """The learning rate moves along half a cosine (Loshchilov & Hutter 2017)."""

    name: Literal["cosine"]
    """This schedule."""


class Triangular(Lasting):
    """The learning rate climbs to 1 and falls again, both in a straight line."""

    name: Literal["triangular"]
    """This schedule."""

    start: NonNegative = 0.2
    """Factor on the group's lr at the first step."""

    peak: Fraction = 0.23
    """Where the factor is 1, as a fraction of the schedule's length."""

    end: NonNegative = 0.07
    """Factor on the group's lr that the line arrives at when its length has passed."""


class Trapezoidal(Lasting):
    """Warm up, stay at 1, cool down, in straight lines (warmup-stable-decay)."""

    name: Literal["trapezoidal"]
    """This schedule."""

    start: NonNegative = 0.0
    """Factor on the group's lr at the first step."""

    warmup: NonNegative = 0.1
    """How long the factor climbs from `start` to 1, in `unit`."""

    cooldown: NonNegative = 0.3
    """How long it falls from 1 to `end`, in `unit`, up to the schedule's end."""

    unit: Literal["fraction", "epochs"] = "fraction"
    """Of `warmup` and `cooldown`: a fraction of the schedule's length, or epochs."""

    end: NonNegative = 0.0
    """Factor on the group's lr that the line arrives at when the schedule's length has passed."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.unit == "fraction" and self.warmup + self.cooldown > 1:
            raise ValueError("warmup and cooldown add up to more than 1, the whole length")
        return self


Schedule = Annotated[Constant | Linear | Cosine | Triangular | Trapezoidal, Field(discriminator="name")]
