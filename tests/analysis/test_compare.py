"""Comparisons say what the data says, and no more."""

import math
from pathlib import Path

import numpy as np
import pytest

from airbench.analysis.compare import against_first, compare_runs, comparison_lines, warnings
from airbench.analysis.report import write_report
from airbench.analysis.statistics import welch
from airbench.errors import AirbenchError
from airbench.runs import read_run
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


def test_a_bound_is_claimed_only_where_the_interval_gives_one(tmp_path: Path) -> None:
    close = [0.9400, 0.9401, 0.9402] * 10
    (comparison,) = compare_runs([fake_run(tmp_path / "a", close), fake_run(tmp_path / "b", close[::-1])])
    bound = comparison.accuracy.high
    assert 0 < bound < 0.001
    assert comparison.verdict == f"can't tell them apart; a difference, if there is one, is at most {bound:.3%}"
    apart = [0.9400, 0.9401, 0.9402], [0.9400, 0.9430, 0.9402]
    (comparison,) = compare_runs([fake_run(tmp_path / f"c{i}", values) for i, values in enumerate(apart)])
    assert "at most" not in comparison.verdict


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


FIXED = ("seeds.init=0", "seeds.order=0", "seeds.augment=0")


@pytest.mark.parametrize(
    ("a", "b", "overrides", "reason"),
    [
        ([0.94] * 3, [0.93] * 3, (), "the trials show no spread (a: 94.00% each time, b: 93.00%); train more"),
        ([0.94] * 3, [0.94] * 3, (), "no spread (a: 94.00% each time, b: 94.00%)"),
        ([0.94] * 3, [0.93] * 3, FIXED, "all seeds of a are held fixed, so its trials repeat one another"),
        ([0.9401, 0.9402], [0.93, 0.931], FIXED, "all seeds of a are held fixed"),
        ([1.0] * 3, [1.0] * 5, (), "every trial of both reached 100%, so there is no room to differ"),
        ([0.94, 0.95, 0.93], [0.90], (), "b has a single trial; train two or more of each"),
        ([0.95], [0.90], (), "a has a single trial"),
        ([0.1 + 0.2 - 0.3 + 0.94, 0.94], [0.93] * 2, (), "the trials show no spread"),
    ],
)
def test_where_no_test_is_possible_nothing_is_claimed(
    a: list[float], b: list[float], overrides: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    runs = [fake_run(tmp_path / name, values, overrides=overrides) for name, values in (("a", a), ("b", b))]
    (comparison,) = compare_runs(runs)
    assert comparison.verdict.startswith("no test is possible: ")
    assert reason in comparison.verdict
    assert math.isnan(comparison.accuracy.low)
    assert math.isnan(comparison.p)
    assert comparison.needed is None
    text = "\n".join(comparison_lines(comparison))
    assert "(no interval)" in text
    for claim in ("at most", "likely", "more accurate", "would be needed"):
        assert claim not in text


def test_one_run_without_spread_is_tested_by_the_spread_of_the_other(tmp_path: Path) -> None:
    (comparison,) = compare_runs([fake_run(tmp_path / "a", [1.0] * 5), fake_run(tmp_path / "b", B)])
    assert comparison.verdict.startswith("a is more accurate than b by 6.458%")


def test_a_tie_of_trials_that_differ_is_tested(tmp_path: Path) -> None:
    (comparison,) = compare_runs([fake_run(tmp_path / "a", A), fake_run(tmp_path / "b", A)])
    assert comparison.p == pytest.approx(1)
    assert comparison.verdict.startswith("can't tell")


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


def test_a_run_named_twice_is_refused(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", A)
    again = read_run(tmp_path / "a" / ".." / "a")
    for runs in ([run, run], [run, again]):
        with pytest.raises(AirbenchError, match="is named twice"):
            compare_runs(runs)
        with pytest.raises(AirbenchError, match="is named twice"):
            write_report(runs, "csv", tmp_path / "report.csv")


def test_a_column_of_differences_to_the_first(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "a", A), fake_run(tmp_path / "b", B), fake_run(tmp_path / "c", [0.9])]
    header, own, b, c = against_first(runs)
    expected = welch(B, A, 0.975)  # two comparisons
    assert header.startswith("against a")
    assert own == ""
    assert b == f"{expected.difference:+.2%} ({expected.low:+.2%} to {expected.high:+.2%})"
    assert c == f"{0.9 - np.mean(A):+.2%}"
    assert against_first(runs[:1]) == []
