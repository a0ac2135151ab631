"""Shares of the variance."""

from pathlib import Path

import numpy as np
import pytest

from airbench.analysis.variance import variance_lines, variance_sources
from airbench.errors import AirbenchError
from tests.analysis.fake_runs import failed_line, fake_run, trial_line


def test_the_source_of_most_variance_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = [fake_run(tmp_path / "all", rng.normal(0.94, 0.002, 60).tolist())]
    for stream, std in (("init", 0.0005), ("order", 0.002), ("augment", 0.0019)):
        runs.append(fake_run(tmp_path / stream, rng.normal(0.94, std, 60).tolist(), overrides=[f"seeds.{stream}=0"]))
    std, n, sources = variance_sources(runs)
    assert n == 60
    assert std == pytest.approx(0.002, rel=0.2)
    shares = {s.stream: s.share for s in sources}
    assert shares["init"].low > 0.8
    assert shares["order"].low < 0 < shares["order"].high
    assert len(variance_lines(std, n, sources)) == 4


def test_trials_without_spread_give_no_interval(tmp_path: Path) -> None:
    everything = fake_run(tmp_path / "all", [0.93, 0.94, 0.95])
    fixed = fake_run(tmp_path / "f", [0.94] * 3, overrides=["seeds.init=0"])
    single = fake_run(tmp_path / "s", [0.94], overrides=["seeds.order=0"])
    text = variance_lines(*variance_sources([everything, fixed, single]))
    assert text[1].endswith("share +100% (no interval: these trials show no spread)")
    assert "share unknown" in text[2]
    assert len(text) == 3
    same = fake_run(tmp_path / "same", [0.94] * 3)
    assert "share unknown" in variance_lines(*variance_sources([same, fixed]))[1]
    assert len(variance_lines(*variance_sources([everything]))) == 1


def test_what_it_needs(tmp_path: Path) -> None:
    fixed = fake_run(tmp_path / "f", [0.93, 0.94], overrides=["seeds.init=0"])
    with pytest.raises(AirbenchError, match="no seed held fixed"):
        variance_sources([fixed])
    both = fake_run(tmp_path / "b", [0.93, 0.94], overrides=["seeds.init=0", "seeds.order=0"])
    with pytest.raises(AirbenchError, match="init and order"):
        variance_sources([both])


def test_failed_trials_are_counted(tmp_path: Path) -> None:
    everything = fake_run(tmp_path / "all", [0.93, 0.94, 0.95], lines=[failed_line(3)])
    fixed = fake_run(tmp_path / "f", [0.94, 0.945], overrides=["seeds.init=0"], lines=[failed_line(i) for i in (2, 3)])
    none = fake_run(tmp_path / "n", [], overrides=["seeds.order=0"], lines=[failed_line(0)])
    first, second, third, *_ = variance_lines(*variance_sources([everything, fixed, none]), 1)
    assert "n = 3 (1 failed)" in first
    assert "n = 2 (2 failed)" in second
    assert "std unknown" in third
    assert "n = 0 (1 failed)" in third
    assert "nan" not in third


def test_a_share_below_zero_is_not_called_zero(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = [
        fake_run(tmp_path / "all", rng.normal(0.94, 0.001, 12).tolist()),
        fake_run(tmp_path / "f", rng.normal(0.94, 0.004, 12).tolist(), overrides=["seeds.init=0"]),
    ]
    std, n, sources = variance_sources(runs)
    assert sources[0].share.high < 0
    text = "\n".join(variance_lines(std, n, sources))
    assert "no share differs" not in text
    assert "the trials vary more with init held fixed" in text


def test_values_at_which_a_stream_is_held_do_not_count_as_variance(tmp_path: Path) -> None:
    everything = fake_run(tmp_path / "all", [0.93, 0.94, 0.95])
    held = [
        fake_run(tmp_path / f"held-{i}", [mean - 0.001, mean, mean + 0.001], overrides=[f"seeds.init={i}"])
        for i, mean in enumerate((0.90, 0.96))
    ]
    _, _, (source,) = variance_sources([everything, *held])
    assert source.std_when_fixed == pytest.approx(0.001)
    assert (source.n, source.values) == (6, 2)
    assert source.share.share == pytest.approx(0.99)


def test_a_trial_that_the_baseline_holds_counts_there_alone(tmp_path: Path) -> None:
    shared = trial_line(0, 0.93)
    everything = fake_run(tmp_path / "all", [], lines=[shared, trial_line(1, 0.94), trial_line(2, 0.95)])
    fixed = fake_run(
        tmp_path / "f", [], lines=[shared, trial_line(3, 0.941), trial_line(4, 0.942)], overrides=["seeds.init=0"]
    )
    std, n, sources = variance_sources([everything, fixed])
    assert (sources[0].n, sources[0].shared) == (2, 1)
    assert "n = 2 (1 more is among the trials above)" in variance_lines(std, n, sources)[1]
