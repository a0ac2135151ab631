"""Summaries, against cases computed by hand."""

import math

import pytest

from airbench.analysis.statistics import summarize


def test_known_case() -> None:
    s = summarize([1.0, 2.0, 3.0, 4.0])
    assert (s.n, s.mean, s.median, s.minimum, s.maximum) == (4, 2.5, 2.5, 1.0, 4.0)
    assert s.std == pytest.approx(math.sqrt(5 / 3))
    reach = 3.182446 * s.std / 2  # t(0.975, 3 degrees of freedom)
    assert (s.low, s.high) == (pytest.approx(2.5 - reach, abs=1e-5), pytest.approx(2.5 + reach, abs=1e-5))


def test_one_value_has_no_spread_and_none_is_refused() -> None:
    s = summarize([0.94])
    assert s.mean == 0.94
    assert math.isnan(s.std)
    assert math.isnan(s.low)
    with pytest.raises(ValueError, match="no values"):
        summarize([])
