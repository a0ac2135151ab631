"""What is said of a run's arithmetic."""

from pathlib import Path

from airbench.analysis.summary import arithmetic_lines
from tests.analysis.fake_runs import FACTS, fake_run


def test_arithmetic_by_hand(tmp_path: Path) -> None:
    # 200 steps of 2,000 images and 2.9e14 operations, in 1000 s, where the machine does 2.5e12 a second.
    (line,) = arithmetic_lines([fake_run(tmp_path / "run", [0.94], seconds=[1000.0])])
    assert (
        line == "airbench94_muon: 0.29 PFLOP a trial, 400 training images/s, 0.29 TFLOP/s, 12% of this machine's peak"
    )


def test_more_than_the_peak_is_explained(tmp_path: Path) -> None:
    facts = {
        "peak": {**FACTS["peak"], "bf16_tflops": 0.2},
        "environment": {**FACTS["environment"], "device_type": "cpu"},
    }
    (line,) = arithmetic_lines([fake_run(tmp_path / "run", [0.94], seconds=[1000.0], **facts)])
    assert "145% of this machine's peak (convolutions are counted by their definition, and computed by Winograd" in line
