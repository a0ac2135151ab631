"""Averages of the weights, during training or beside it."""

from airbench.recipe.config import Config, Count, Fraction, Momentum, NonNegative


class Lookahead(Config):
    """A slow copy of the weights and batch statistics, to which the net is reset (Zhang et al. 2019).

    At every `every`-th step t of T the slow copy moves 1 - decay^every · (t / T)^power of the way to the net. The net
    ends as the slow copy: steps after its last update are lost. A training of
    fewer than `every` steps keeps its own weights.
    """

    every: Count = 5
    """Steps between updates of the slow copy."""

    decay: Fraction = 0.95
    """See the formula above."""

    power: NonNegative = 3.0
    """See the formula above."""


class EMA(Config):
    """An exponential moving average of weights and batch statistics, which replaces them at the end of the training.

    At every `every`-th step, and at the last, it moves 1 - decay^k of the way to the net, k steps after it moved before
    (Polyak & Juditsky 1992).
    """

    every: Count = 5
    """Steps between updates of the average."""

    decay: Momentum = 0.95
    """Fraction of the average kept per step."""

    start: Fraction = 0.0
    """Fraction of the steps after which the average begins, at the net's weights."""
