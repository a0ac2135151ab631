"""Whole numbers from products that should be whole, but for the last bits of a float."""

import math


def rounded_down(value: float) -> int:
    """Return the largest whole number up to ``value``: 57 for 0.57 · 100, which is 56.99999999999999."""
    return math.floor(round(value, 9))


def rounded_up(value: float) -> int:
    """Return the smallest whole number from ``value`` ≥ 0 on: 1 for 1e-30; 3 for 0.1 · 30, 3.0000000000000004."""
    return max(math.ceil(round(value, 9)), 1 if value > 0 else 0)
