"""What is said of a run's arithmetic."""

from pathlib import Path

from airbench.analysis.summary import arithmetic_lines, summarize_run, summary_rows
from tests.analysis.fake_runs import FACTS, fake_run


def test_arithmetic_by_hand(tmp_path: Path) -> None:
    # 200 steps of 2,000 images and 2.9e14 operations, in 1000 s, where the machine does 2.5e12 a second.
    (line,) = arithmetic_lines([fake_run(tmp_path / "run", [0.94], seconds=[1000.0])])
    assert (
        line == "airbench94_muon: 0.29 PFLOP per trial, 400 training images/s, 0.29 TFLOP/s, 12% of this machine's peak"
    )


def test_more_than_the_peak_is_explained(tmp_path: Path) -> None:
    facts = {
        "peak": {**FACTS["peak"], "bf16_tflops": 0.2},
        "environment": {**FACTS["environment"], "device_type": "cpu"},
    }
    (line,) = arithmetic_lines([fake_run(tmp_path / "run", [0.94], seconds=[1000.0], **facts)])
    assert "145% of this machine's peak (FLOP are counted by the definition of convolution" in line


def test_trials_without_spread_have_no_interval(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", [0.94] * 3)
    assert summarize_run(run)["accuracy"]["low"] is None
    assert summarize_run(run)["target_reached"]
    assert summary_rows([run])[1][3] == "-"


def test_a_mean_that_is_the_target_reaches_it(tmp_path: Path) -> None:
    assert summarize_run(fake_run(tmp_path / "run", [0.938, 0.942, 0.942, 0.938, 0.94]))["target_reached"]
