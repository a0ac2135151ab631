"""Comparisons say what the data says, and no more."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.analysis.compare import compare_runs, comparison_lines, lines_against_first, warnings
from airbench.analysis.report import write_report
from airbench.analysis.statistics import paired, welch
from airbench.errors import AirbenchError
from airbench.runs import RunRecord, read_run
from tests.analysis.fake_runs import failed_line, fake_run

A = [0.9412, 0.9405, 0.9409, 0.9415, 0.9408]
B = [0.9352, 0.9361, 0.9349, 0.9358, 0.9351]


def test_a_clear_difference(tmp_path: Path) -> None:
    a, b = fake_run(tmp_path / "a", A), fake_run(tmp_path / "b", B, recipe="airbench94", seconds=[20.0] * 5)
    (comparison,) = compare_runs([a, b])
    expected = welch(A, B)
    assert comparison.accuracy == expected
    assert comparison.verdict.startswith("airbench94_muon is more accurate than airbench94 by 0.556%")
    text = "\n".join(comparison_lines(comparison))
    assert "(+0.490% to +0.622%), p = 1.1e-07; Welch's t-test" in text
    assert "0.510 times as long (0.500 to 0.520)" in text
    assert "medians 10.20 s and 20.00 s" in text
    (other,) = compare_runs([b, a])
    assert other.verdict == comparison.verdict


def test_no_difference_says_what_it_would_take(tmp_path: Path) -> None:
    wide = [0.936, 0.944, 0.940]
    (comparison,) = compare_runs([fake_run(tmp_path / "a", wide), fake_run(tmp_path / "b", wide[::-1])])
    assert comparison.needed is not None
    assert (
        comparison.verdict
        == f"inconclusive: about n = {comparison.needed} would be needed to detect a difference of 0.1%"
    )


def test_a_bound_is_claimed_only_where_the_interval_gives_one(tmp_path: Path) -> None:
    close = [0.9400, 0.9401, 0.9402] * 10
    (comparison,) = compare_runs([fake_run(tmp_path / "a", close), fake_run(tmp_path / "b", close[::-1])])
    bound = comparison.accuracy.high
    assert 0 < bound < 0.001
    assert comparison.verdict == f"inconclusive: any difference is at most {bound:.3%}"
    apart = [0.9400, 0.9401, 0.9402], [0.9400, 0.9430, 0.9402]
    (comparison,) = compare_runs([fake_run(tmp_path / f"c{i}", values) for i, values in enumerate(apart)])
    assert "at most" not in comparison.verdict


def test_runs_that_nothing_tells_apart_are_called_by_their_folders(tmp_path: Path) -> None:
    (comparison,) = compare_runs([fake_run(tmp_path / "first", A), fake_run(tmp_path / "second", B)])
    assert comparison.verdict.startswith("first is more accurate than second")
    assert comparison_lines(comparison)[0] == "first (n = 5) against second (n = 5)"
    third = fake_run(tmp_path / "third", B, recipe="airbench94")
    assert [c.names for c in compare_runs([comparison.a, comparison.b, third])] == [
        ("first", "second"), ("first", "airbench94"), ("second", "airbench94"),
    ]  # fmt: skip


FIXED = ("seeds.init=0", "seeds.order=0", "seeds.augment=0")


@pytest.mark.parametrize(
    ("a", "b", "overrides", "reason"),
    [
        ([0.94] * 3, [0.93] * 3, (), "the trials show no spread (a: always 94.00%, b: always 93.00%); train more"),
        ([0.94] * 3, [0.94] * 3, (), "no spread (a: always 94.00%, b: always 94.00%)"),
        ([0.94] * 3, [0.93] * 3, FIXED, "all seeds of a are held fixed, so its trials are copies of one another"),
        ([0.9401, 0.9402], [0.93, 0.931], FIXED, "all seeds of a are held fixed"),
        ([1.0] * 3, [1.0] * 5, (), "every trial of both reached 100%, which leaves no room for a difference"),
        ([0.94, 0.95, 0.93], [0.90], (), "airbench94_muon, seed 0 has a single trial; train at least two per recipe"),
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
    assert math.isnan(comparison.accuracy.p)
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
    assert comparison.accuracy.p == pytest.approx(1)
    assert comparison.verdict.startswith("inconclusive")


def run_of(
    template: RunRecord, name: str, accuracies: Sequence[float], *, first_seed: int = 0, seconds: Sequence[float] = ()
) -> RunRecord:
    """A run with these accuracies, made without a folder."""
    trials = tuple(
        replace(
            template.trials[0],
            index=i,
            seed=first_seed + i,
            accuracy=float(accuracy),
            seconds=float(seconds[i]) if len(seconds) else 10 + 0.1 * i,
            epochs=(),
        )
        for i, accuracy in enumerate(accuracies)
    )
    return replace(template, path=template.path.parent / name, trials=trials)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return fake_run(tmp_path_factory.mktemp("template") / "run", [0.94])


COUNTS = st.lists(st.lists(st.integers(9380, 9420), min_size=1, max_size=6), min_size=2, max_size=4)


@given(counts=COUNTS, by_seed=st.booleans())
def test_a_claim_an_interval_without_zero_and_a_small_p_are_one(
    counts: list[list[int]], by_seed: bool, template: RunRecord
) -> None:
    runs = [run_of(template, str(i), [k / 10_000 for k in ks]) for i, ks in enumerate(counts)]
    for comparison in compare_runs(runs, by_seed=by_seed):
        found = comparison.accuracy
        claims = "more accurate" in comparison.verdict
        assert claims == (found.p < 0.05)
        if not 0.05 - 1e-9 < found.p < 0.05 + 1e-9:
            assert claims == (found.low > 0 or found.high < 0)
        assert bool(comparison.no_test) == math.isnan(found.low) == math.isnan(found.p)
        if not claims and "at most" in comparison.verdict:
            assert max(-found.low, found.high) <= 0.001


@pytest.fixture
def without_planning(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many trials would be needed takes longer to find than all the rest."""
    monkeypatch.setattr("airbench.analysis.compare.trials_needed", lambda *_, **__: 99)


FAMILIES = 200
MANY_FALSE = 0.05 + 3 * (0.05 * 0.95 / FAMILIES) ** 0.5


@pytest.mark.parametrize("by_seed", [False, True])
@pytest.mark.usefixtures("without_planning")
def test_no_more_than_one_in_twenty_families_makes_a_false_claim(by_seed: bool, template: RunRecord) -> None:
    rng, false = np.random.default_rng(0), 0
    for _ in range(FAMILIES):
        runs = [run_of(template, str(i), rng.normal(0.94, 0.0015, 6)) for i in range(4)]
        false += any("more accurate" in c.verdict for c in compare_runs(runs, by_seed=by_seed))
    assert false / FAMILIES <= MANY_FALSE


@pytest.mark.usefixtures("without_planning")
def test_the_differences_from_the_first_make_no_more_false_claims_than_that(template: RunRecord) -> None:
    rng, false = np.random.default_rng(0), 0
    for _ in range(FAMILIES):
        runs = [run_of(template, str(i), rng.normal(0.94, 0.0015, 6)) for i in range(4)]
        cells = [re.findall(r"[+-][\d.]+(?=%)", line) for line in lines_against_first(runs)[1:]]
        false += any(float(low) > 0 or float(high) < 0 for _, low, high in cells)
    assert false / FAMILIES <= MANY_FALSE


@pytest.mark.usefixtures("without_planning")
def test_ratio_of_times_covers_as_often_as_it_says(template: RunRecord) -> None:
    rng = np.random.default_rng(0)
    covered, runs = 0, 400
    for _ in range(runs):
        times = [np.exp(rng.normal(mean, 0.05, 4)) for mean in (2.0, 2.3)]
        a, b = (run_of(template, str(j), A[:4], seconds=t) for j, t in enumerate(times))
        interval = compare_runs([a, b])[0].log_seconds
        covered += interval.low <= -0.3 <= interval.high
    assert covered / runs >= 0.92


def test_several_comparisons_are_corrected(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = [fake_run(tmp_path / str(i), rng.normal(0.94, 0.001, 6).tolist()) for i in range(4)]
    alone = compare_runs(runs[:2])[0].accuracy
    together = compare_runs(runs)
    assert len(together) == 6
    assert together[0].accuracy == welch(*([t.accuracy for t in run.trials] for run in runs[:2]), comparisons=6)
    assert together[0].accuracy.high - together[0].accuracy.low > alone.high - alone.low
    assert "Bonferroni for 6 comparisons" in comparison_lines(together[0])[1]


def test_pairing_is_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    a, b = fake_run(tmp_path / "a", A), fake_run(tmp_path / "b", B[:4])
    (comparison,) = compare_runs([a, b], by_seed=True)
    assert comparison.accuracy == paired(A[:4], B[:4])
    assert comparison.method == "paired t-test over 4 seeds"
    assert "paired t-test over 4 seeds" in comparison_lines(comparison)[1]
    (welchs,) = compare_runs([a, b])
    assert "paired" not in "\n".join(comparison_lines(welchs))


def test_pairs_that_say_nothing(tmp_path: Path, template: RunRecord) -> None:
    steps = fake_run(tmp_path / "a", [0.93, 0.94, 0.96]), fake_run(tmp_path / "b", [0.94, 0.95, 0.97])
    (comparison,) = compare_runs(steps, by_seed=True)
    assert comparison.verdict.startswith("no test is possible: every pair differs by exactly -1.00%")
    others = run_of(template, "x", A), run_of(template, "y", B, first_seed=100)
    (comparison,) = compare_runs(others, by_seed=True)
    assert "share fewer than two seeds" in comparison.verdict


def test_what_makes_runs_hard_to_compare_is_said(tmp_path: Path) -> None:
    a = fake_run(tmp_path / "a", A)
    b = fake_run(tmp_path / "b", B, environment={"device": "Another", "precision": "bf16"}, trials_planned=9)
    text = "\n".join(warnings([a, b]))
    assert "hardware" in text
    assert "4 missing" in text
    assert warnings([a, a]) == []


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(AirbenchError, match="at least two runs"):
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


def test_lines_of_differences_from_the_first(tmp_path: Path) -> None:
    names = ("airbench94_muon", "airbench94", "speedrun")
    runs = [fake_run(tmp_path / n, v, recipe=n) for n, v in zip(names, (A, B, [0.9]), strict=True)]
    for some, heading in ((runs[:2], "95% interval"), (runs, "95% intervals jointly")):
        expected = welch(B, A, comparisons=len(some) - 1)
        heading_line, first, *rest = lines_against_first(some)
        assert heading_line == f"difference from airbench94_muon ({heading}):"
        assert first == f"  airbench94  {expected.difference:+.2%} ({expected.low:+.2%} to {expected.high:+.2%})"
    assert rest == [f"  speedrun    {0.9 - np.mean(A):+.2%}"]
    assert lines_against_first([runs[2], runs[0]])[0] == "difference from speedrun:"  # no interval: of one trial
    assert lines_against_first(runs[:1]) == []


def test_failures_belong_to_the_claim(tmp_path: Path) -> None:
    a = fake_run(tmp_path / "a", A[:3], lines=[failed_line(i) for i in range(3, 10)])
    (comparison,) = compare_runs([a, fake_run(tmp_path / "b", B, recipe="airbench94")])
    assert comparison.verdict.startswith("airbench94_muon is more accurate than airbench94 by")
    assert comparison.verdict.endswith("; not counting failures: 7 of 10 trials of airbench94_muon")
    assert comparison_lines(comparison)[0] == "airbench94_muon (n = 3, 7 failed) against airbench94 (n = 5)"


def test_a_claim_with_seeds_held_fixed_is_for_these_alone(tmp_path: Path) -> None:
    fixed = ("seeds.init=0", "seeds.order=0")
    a = fake_run(tmp_path / "a", A, overrides=fixed)
    (comparison,) = compare_runs([a, fake_run(tmp_path / "b", B, recipe="airbench94", overrides=fixed)])
    assert comparison.verdict.endswith(
        "; this holds for one initialisation and order of the images only (seeds.init, seeds.order held fixed)"
    )
    (comparison,) = compare_runs([fake_run(tmp_path / "c", A), fake_run(tmp_path / "d", B)])
    assert "held fixed" not in comparison.verdict


def test_the_number_of_a_paired_comparison_is_that_of_its_pairs(template: RunRecord) -> None:
    rng = np.random.default_rng(0)
    a, b = (run_of(template, name, rng.normal(0.94, 0.002, 30), first_seed=s) for name, s in (("x", 0), ("y", 27)))
    (comparison,) = compare_runs([a, b], by_seed=True)
    assert comparison.pairs == 3
    assert comparison_lines(comparison)[0].endswith("(n = 30) against y (n = 30), 3 pairs of them")
    assert comparison.needed is not None
    assert comparison.needed > 3
    assert f"about n = {comparison.needed} would be needed" in comparison.verdict
