"""The rule for records: what passes, what does not, and how often chance alone makes one."""

from pathlib import Path
from typing import Any

import pytest

from airbench.analysis.verify import verdict_lines, verify
from tests.analysis.fake_runs import fake_run, trial_line

GOOD = [0.9412, 0.9405, 0.9409, 0.9415, 0.9408, 0.9411, 0.9406, 0.9410]


def test_a_good_run_is_a_record(tmp_path: Path) -> None:
    verdict = verify(fake_run(tmp_path / "a", GOOD), 0.94)
    assert verdict.is_record
    assert verdict.line.startswith("RECORD: airbench94_muon: 94.095% over n = 8")
    lines = verdict_lines(verdict)
    assert lines[-1] == verdict.line
    assert all(f"{a:.2%}" in "\n".join(lines) for a in GOOD)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"trials_planned": 9}, "1 of 9 planned trials are missing: 8"),
        ({"lines": [{"trial": 8, "seed": 8, "seeds": {}, "status": "failed", "reason": "x"}]}, "1 of 9 trials failed"),
        ({"overrides": ["seeds.init=7"]}, "none held fixed"),
        ({"lines": [trial_line(8, 0.941, seeds={"init": 1, "order": 8, "augment": 8})]}, "none held fixed"),
        ({"recipe_sha256": "0" * 64}, "changed since"),
        ({"resumed": [{"changed": 5}]}, "does not say what"),
        (
            {"environment": ["no", "mapping"], "steps": "many", "trials_planned": 10**12},
            "trials_planned is missing or invalid",
        ),
        ({"seed": 3}, "seeds"),
        ({"data": {"genuine": False}}, "genuine CIFAR-10: no"),
        ({"overrides": ["data.held_out=5000"]}, "judged on 5000 held-out training images, not on the test images"),
        ({"overrides": ["data.held_out=5000"]}, "trained on the training images that are not held out"),
        ({"source": {"committed": False}}, "committed: no"),
        ({"resumed": [{"at": "now", "changed": ["threads was 2 and is 4"]}]}, "threads was 2 and is 4"),
        ({"resumed": "yes"}, "resumed after a change"),
        ({"overrides": ["data.train_images=1000"]}, "trained on 1000 of the training images"),
        ({"lines": [trial_line(2, 0.99)], "trials_planned": 8}, "trial 2 appears twice"),
        ({"trials_planned": 4}, "beyond the 4 planned"),
        ({"format": 99}, "format 99"),
    ],
)
def test_every_condition_of_the_rule(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    verdict = verify(fake_run(tmp_path / "a", GOOD, **change), 0.94)
    assert not verdict.is_record
    assert verdict.line.startswith("NO RECORD")
    assert any(why in check.description for check in verdict.checks if not check.passed), verdict.checks


@pytest.mark.parametrize(
    "accuracies",
    [
        GOOD[:7],
        [0.95] * 8,
        [0.9401, 0.9399, 0.9402, 0.9398] * 2,
        [0.93, 0.931, 0.932] * 3,
        [0.99, 0.90] * 5,
        [0.9408, 0.9409, 0.9409, 0.9410, 0.9408, 0.9409, 0.9410, 0.9396],
    ],
    ids=["too few", "no spread", "not significant", "below", "all over the place", "a bad trial among good ones"],
)
def test_accuracies_that_prove_nothing(tmp_path: Path, accuracies: list[float]) -> None:
    assert not verify(fake_run(tmp_path / "a", accuracies), 0.94).is_record


def test_no_finished_trial(tmp_path: Path) -> None:
    verdict = verify(fake_run(tmp_path / "a", []), 0.94)
    assert verdict.line == "NO RECORD: airbench94_muon: no trial finished"


def test_resuming_on_the_unchanged_machine_is_no_objection(tmp_path: Path) -> None:
    assert verify(fake_run(tmp_path / "a", GOOD, resumed=[{"at": "now", "changed": []}]), 0.94).is_record


def test_the_evidence_says_how_the_accuracies_are_spread(tmp_path: Path) -> None:
    text = "\n".join(verdict_lines(verify(fake_run(tmp_path / "a", [*GOOD[:7], 0.9385]), 0.94)))
    assert "skewness -2.14" in text
    assert "worst trial 93.85%, 2.3 std below the mean" in text
    assert "even if 44% of trials were bad, 8 could by chance contain none" in text
    one = verdict_lines(verify(fake_run(tmp_path / "b", [0.95]), 0.94))
    assert "skewness unknown; worst trial 95.00%; even" in "\n".join(one)
    assert "no p-value" in one[-1]


def test_a_mean_far_above_the_target_is_a_record_even_with_a_bad_trial(tmp_path: Path) -> None:
    assert verify(fake_run(tmp_path / "a", [*GOOD[:7], 0.9400]), 0.93).is_record
