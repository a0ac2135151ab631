"""Learning-rate schedules: the factor on a group's lr at each step."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from airbench.recipe.config import Config, Epochs, Fraction, NonNegative
from airbench.recipe.registry import Component, Registry
from airbench.recipe.rounding import rounded_down, rounded_up


class ScheduleConfig(Config):
    """Settings common to all schedules."""

    name: str

    def factor(self, step: int, total: int, per_epoch: float) -> float:
        """Return the factor on the lr at ``step`` (from 0) of ``total``, with ``per_epoch`` steps per epoch."""
        raise NotImplementedError


class Constant(ScheduleConfig):
    """Keep the learning rate constant."""

    name: Literal["constant"] = "constant"
    """This schedule."""

    def factor(self, step: int, total: int, per_epoch: float) -> float:
        """Return 1."""
        return 1.0


class Finite(ScheduleConfig):
    """A schedule of finite length, after which the factor stays at ``end``."""

    epochs: Epochs | None = None
    """Length in epochs. Unset: the whole run."""

    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Length as a fraction of the run, instead of `epochs`. Unset: the whole run."""

    end: NonNegative = 0.0
    """Factor on the group's lr at the end of the schedule and from then on."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.fraction is not None:
            raise ValueError("give epochs or fraction, not both")
        return self

    def factor(self, step: int, total: int, per_epoch: float) -> float:
        """Return the factor on the schedule's curve until its end, and ``end`` from then on."""
        length = total
        if self.epochs is not None:
            length = epochs_to_steps(self.epochs, per_epoch)
        elif self.fraction is not None:
            length = max(1, round(self.fraction * total))
        return self.end if step >= length else self.curve(step, length, per_epoch)

    def curve(self, step: int, length: int, per_epoch: float) -> float:
        """Return the factor at ``step`` < ``length`` (both in steps)."""
        raise NotImplementedError


class Linear(Finite):
    """Change the learning rate linearly."""

    name: Literal["linear"] = "linear"
    """This schedule."""

    start: NonNegative = 1.0
    """Factor on the group's lr at the first step."""

    def curve(self, step: int, length: int, per_epoch: float) -> float:
        """Interpolate between ``start`` and ``end``."""
        return _between(self.start, self.end, step / length)


class Cosine(Finite):
    """Change the learning rate along a half cosine (Loshchilov & Hutter 2017)."""

    name: Literal["cosine"] = "cosine"
    """This schedule."""

    start: NonNegative = 1.0
    """Factor on the group's lr at the first step."""

    def curve(self, step: int, length: int, per_epoch: float) -> float:
        """Interpolate between ``start`` and ``end``, changing slowly near both."""
        return _between(self.start, self.end, (1 - math.cos(math.pi * step / length)) / 2)


class Triangular(Finite):
    """Raise the factor linearly to 1, then lower it linearly."""

    name: Literal["triangular"] = "triangular"
    """This schedule."""

    start: NonNegative = 0.2
    """Factor on the group's lr at the first step."""

    peak: Fraction = 0.23
    """Where the factor reaches 1, as a fraction of the schedule's length."""

    end: NonNegative = 0.07
    """Factor on the group's lr at the end of the schedule, and from then on."""

    def curve(self, step: int, length: int, per_epoch: float) -> float:
        """Rise until ``peak``, then fall."""
        up = rounded_down(length * self.peak)
        return _trapezoid(self.start, self.end, step, length, up, length - up)


class Trapezoidal(Finite):
    """Warm up linearly, stay at 1, cool down linearly (warmup-stable-decay)."""

    name: Literal["trapezoidal"] = "trapezoidal"
    """This schedule."""

    start: NonNegative = 0.0
    """Factor on the group's lr at the first step."""

    warmup: NonNegative = 0.1
    """How long the factor rises from `start` to 1, in `unit`."""

    cooldown: NonNegative = 0.3
    """How long it falls from 1 to `end`, in `unit`, up to the schedule's end."""

    unit: Literal["fraction", "epochs"] = "fraction"
    """Unit of `warmup` and `cooldown`: fractions of the schedule's length, or epochs."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.unit == "fraction" and self.warmup + self.cooldown > 1:
            raise ValueError("warmup + cooldown is more than 1, the whole length")
        return self

    def curve(self, step: int, length: int, per_epoch: float) -> float:
        """Rise for ``warmup``, fall for ``cooldown``, stay at 1 in between."""
        unit = length if self.unit == "fraction" else per_epoch
        up, down = rounded_down(self.warmup * unit), round(self.cooldown * unit)
        return _trapezoid(self.start, self.end, step, length, up, down)


def _trapezoid(start: float, end: float, step: int, length: int, up: int, down: int) -> float:
    """Rise from ``start`` to 1 in the first ``up`` of ``length`` steps, fall to ``end`` in the last ``down``.

    If the two overlap, the rise is cut short.
    """
    down = min(down, length)
    if step < min(up, length - down):
        return _between(start, 1.0, step / up)
    top = 1.0 if up + down <= length else _between(start, 1.0, (length - down) / up)
    left = length - step
    return _between(end, top, left / down) if left < down else top


def _between(start: float, end: float, share: float) -> float:
    return start * (1 - share) + end * share


def epochs_to_steps(epochs: float, per_epoch: float) -> int:
    """Return the number of steps in ``epochs`` epochs, rounded up; at least 1."""
    return max(1, rounded_up(epochs * per_epoch))


SCHEDULES = Registry(
    "schedule",
    {
        "constant": Component(Constant),
        "linear": Component(Linear),
        "cosine": Component(Cosine),
        "triangular": Component(Triangular),
        "trapezoidal": Component(Trapezoidal),
    },
)

Schedule = Annotated[ScheduleConfig, SCHEDULES]
