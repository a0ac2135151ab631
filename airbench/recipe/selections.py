"""Selection of examples: which images of a batch are trained on."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from airbench.recipe.config import Config, Count, Epochs, Fraction
from airbench.recipe.nets import CifarNet, Net, NetConfig
from airbench.recipe.registry import Component, Registry
from airbench.recipe.rounding import rounded_down
from airbench.recipe.schedules import epochs_to_steps


@dataclass(frozen=True)
class Proxy:
    """A small net that selects examples, and on how many batches it is updated once."""

    net: NetConfig
    backward_every: int


class SelectionConfig(Config):
    """Settings common to all kinds of selection."""

    name: str

    @property
    def proxy(self) -> "Proxy | None":
        """The small net that is trained first and selects, if there is one."""
        return None

    def rows_at(self, step: int, total: int, per_epoch: float, batch_size: int) -> int:
        """Return how many of ``batch_size`` images are trained on at ``step`` (from 0) of ``total``."""
        raise NotImplementedError

    def changes(self, total: int, per_epoch: float) -> tuple[int, ...]:
        """Return the steps, besides 0, at which that number changes."""
        return ()


class ProxySelection(SelectionConfig):
    """Train on the images of each batch that a small net has the highest loss on (Jordan 2024, airbench96_faster).

    The small net is trained first, on the clock, on the same batches in the same order and with the same optimizers.
    It is updated by the gradient of the selected images as well.
    """

    name: Literal["proxy"] = "proxy"
    """This kind of selection."""

    keep: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Fraction of each batch that is trained on."""

    net: Net = CifarNet(widths=(32, 64, 64))
    """The small net."""

    backward_every: Count = 4
    """Update the small net only on every `backward_every`-th batch; on the others it only evaluates."""

    @property
    def proxy(self) -> "Proxy":
        """The small net."""
        return Proxy(self.net, self.backward_every)

    def rows_at(self, step: int, total: int, per_epoch: float, batch_size: int) -> int:
        """Return the same number for every step."""
        return max(1, round(self.keep * batch_size))


class RecordedLoss(SelectionConfig):
    """Drop a random part of the images that were easy when last seen; weigh the rest of them more (Qin et al. 2023).

    An image is easy if the loss recorded the last time it was trained on is below the mean at the epoch's beginning,
    when the images of all its batches are chosen; a batch that is carried over belongs to the epoch that completes it.
    Gradients stay unbiased: a batch's easy images that are kept weigh as much as all of its easy images together.
    Losses come from the training steps, at no cost.
    """

    name: Literal["recorded_loss"] = "recorded_loss"
    """This kind of selection."""

    drop: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Fraction of each batch that is dropped. If no more of the batch than that is easy, they are drawn from all."""

    start: Epochs = 2.0
    """Epochs before the first image is dropped."""

    until: Fraction = 0.85
    """Drop images until this fraction of the steps, and none after it."""

    def rows_at(self, step: int, total: int, per_epoch: float, batch_size: int) -> int:
        """Return fewer images between ``start`` and ``until``."""
        start, end = self._span(total, per_epoch)
        return batch_size - (self.dropped(batch_size) if start <= step < end else 0)

    def dropped(self, batch_size: int) -> int:
        """Return how many images of a batch are dropped."""
        return rounded_down(self.drop * batch_size)

    def changes(self, total: int, per_epoch: float) -> tuple[int, ...]:
        """Return the beginning and the end."""
        return self._span(total, per_epoch)

    def _span(self, total: int, per_epoch: float) -> tuple[int, int]:
        start = epochs_to_steps(self.start, per_epoch)
        return start, max(start, round(self.until * total))

    @model_validator(mode="after")
    def _losses_are_known(self) -> "RecordedLoss":
        if self.start < 1:
            raise ValueError("start: in the first epoch no losses are known; give at least 1")
        return self


_ROOM = "airbench.training.selection"

SELECTIONS = Registry(
    "selection",
    {
        "proxy": Component(ProxySelection, f"{_ROOM}.proxy:build_proxy"),
        "recorded_loss": Component(RecordedLoss, f"{_ROOM}.recorded_loss:build_recorded_loss"),
    },
)

Selection = Annotated[SelectionConfig, SELECTIONS]
