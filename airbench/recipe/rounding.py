"""Whole numbers from products that should be whole, but for the last bits of a float."""

import math


def rounded_down(value: float) -> int:
    """Return the largest whole number up to ``value``: 57 for 0.57 · 100, which is 56.99999999999999."""
    return math.floor(round(value, 9))


def rounded_up(value: float) -> int:
    """Return the smallest whole number from ``value`` on: 3 for 0.1 · 30, which is 3.0000000000000004."""
    return math.ceil(round(value, 9))
