"""Comparisons say what the data says, and no more."""

import math
from pathlib import Path

import numpy as np
import pytest

from airbench.analysis.compare import against_first, compare_runs, comparison_lines, warnings
from airbench.analysis.statistics import welch
from airbench.errors import AirbenchError
from tests.analysis.fake_runs import fake_run

A = [0.9412, 0.9405, 0.9409, 0.9415, 0.9408]
B = [0.9352, 0.9361, 0.9349, 0.9358, 0.9351]


def test_a_clear_difference(tmp_path: Path) -> None:
    a, b = fake_run(tmp_path / "a", A), fake_run(tmp_path / "b", B, recipe="sgd", seconds=[20.0] * 5)
    (comparison,) = compare_runs([a, b])
    expected = welch(A, B)
    assert comparison.accuracy == expected
    assert comparison.verdict.startswith("airbench94_muon is more accurate than sgd by 0.556%")
    assert comparison.time_ratio == pytest.approx(10.2 / 20)
    text = "\n".join(comparison_lines(comparison))
    assert "by seed" in text
    (other,) = compare_runs([b, a])
    assert other.verdict == comparison.verdict


def test_no_difference_says_what_it_would_take(tmp_path: Path) -> None:
    wide = [0.936, 0.944, 0.940]
    (comparison,) = compare_runs([fake_run(tmp_path / "a", wide), fake_run(tmp_path / "b", wide[::-1])])
    assert comparison.needed is not None
    assert comparison.verdict == f"can't tell; n = {comparison.needed} would be needed to see a difference of 0.1%"


def test_no_difference_with_trials_enough_says_so(tmp_path: Path) -> None:
    same = [0.9400, 0.9401, 0.9402] * 10
    (comparison,) = compare_runs([fake_run(tmp_path / "a", same), fake_run(tmp_path / "b", same[::-1])])
    assert comparison.verdict.startswith("can't tell; there are enough trials")


def test_runs_of_one_recipe_are_called_by_their_folders(tmp_path: Path) -> None:
    (comparison,) = compare_runs([fake_run(tmp_path / "first", A), fake_run(tmp_path / "second", B)])
    assert comparison.verdict.startswith("first is more accurate than second")
    assert comparison_lines(comparison)[0] == "first (n = 5) against second (n = 5)"
    third = fake_run(tmp_path / "third", B, recipe="sgd")
    assert [c.names for c in compare_runs([comparison.a, comparison.b, third])] == [
        ("first", "second"), ("first", "sgd"), ("second", "sgd"),
    ]  # fmt: skip


def test_ratio_of_times_covers_as_often_as_it_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    covered, runs = 0, 200
    for i in range(runs):
        times = [np.exp(rng.normal(mean, 0.05, 4)).tolist() for mean in (2.0, 2.3)]
        a, b = (fake_run(tmp_path / f"{i}-{j}", A[:4], seconds=t) for j, t in enumerate(times))
        interval = compare_runs([a, b])[0].log_seconds
        covered += interval.low <= -0.3 <= interval.high
    assert covered / runs >= 0.91


def test_single_trials_claim_nothing(tmp_path: Path) -> None:
    (comparison,) = compare_runs([fake_run(tmp_path / "a", [0.95]), fake_run(tmp_path / "b", [0.90])])
    assert math.isnan(comparison.accuracy.low)
    assert comparison.verdict.startswith("can't tell: it takes two trials of each")
    assert "no interval" in "\n".join(comparison_lines(comparison))


def test_several_comparisons_are_corrected(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = [fake_run(tmp_path / str(i), rng.normal(0.94, 0.001, 6).tolist()) for i in range(4)]
    alone = compare_runs(runs[:2])[0]
    together = compare_runs(runs)
    assert len(together) == 6
    assert together[0].p >= alone.p
    assert together[0].accuracy.high - together[0].accuracy.low > alone.accuracy.high - alone.accuracy.low


def test_pairing_needs_the_same_seeds(tmp_path: Path) -> None:
    a, b = fake_run(tmp_path / "a", A), fake_run(tmp_path / "b", B[:4])
    (comparison,) = compare_runs([a, b])
    assert math.isnan(comparison.same_seeds.p)


def test_what_makes_runs_hard_to_compare_is_said(tmp_path: Path) -> None:
    a = fake_run(tmp_path / "a", A)
    b = fake_run(tmp_path / "b", B, environment={"device": "Another", "precision": "bf16"}, trials_planned=9)
    text = "\n".join(warnings([a, b]))
    assert "hardware" in text
    assert "4 are missing" in text
    assert warnings([a, a]) == []


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(AirbenchError, match="two runs or more"):
        compare_runs([fake_run(tmp_path / "a", A)])
    with pytest.raises(AirbenchError, match="no trial finished"):
        compare_runs([fake_run(tmp_path / "b", A), fake_run(tmp_path / "c", [])])


def test_a_column_of_differences_to_the_first(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "a", A), fake_run(tmp_path / "b", B), fake_run(tmp_path / "c", [0.9])]
    header, own, b, c = against_first(runs)
    expected = welch(B, A, 0.975)  # two comparisons
    assert header.startswith("against a")
    assert own == ""
    assert b == f"{expected.difference:+.2%} ({expected.low:+.2%} to {expected.high:+.2%})"
    assert c == f"{0.9 - np.mean(A):+.2%}"
    assert against_first(runs[:1]) == []
