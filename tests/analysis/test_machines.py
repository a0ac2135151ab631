"""Accuracies from unlike machines are pooled, seconds are not, and every table says so."""

from pathlib import Path
from typing import Any

import pytest

from airbench.analysis.compare import compare_runs, comparison_lines, warnings
from airbench.analysis.consistency import contradictions
from airbench.analysis.experiments import pooling_note
from airbench.analysis.machines import NO_TIME, why_no_time
from airbench.analysis.report.html import html_report
from airbench.analysis.report.tables import csv_report, markdown_report
from airbench.analysis.summary import arithmetic_lines, listing_rows, summarize_run, summary_rows
from airbench.analysis.time_to_target import collect_lengths, crossing_lines, time_to_target
from airbench.analysis.verify import verdict_lines, verify
from airbench.runs import RunRecord
from tests.analysis.fake_runs import FACTS, fake_run, trial_line

HERE = {"device": FACTS["environment"]["device"], "device_type": "cpu", "memory_gib": 31.0, "node": 0, "concurrent": 1}
GOOD = [0.9443, 0.9451, 0.9447, 0.9455, 0.9439, 0.9449, 0.9452, 0.9444, 0.9450]


def run_on(folder: Path, *machines: dict[str, Any], **more: Any) -> RunRecord:
    """A run of as many trials as there are machines, on each of them one."""
    lines = [trial_line(i, GOOD[i], 10.0 + i / 4, machine=machine) for i, machine in enumerate(machines)]
    for line in lines:
        line["epochs"][0]["train_loss"] += len(folder.name) / 100  # no two runs have the same losses
    return fake_run(folder, [], lines=lines, ray={"version": "2.60.0", "nodes": 2}, **more)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"device": "Other processor, 2 threads"}, "device Other processor, 2 threads / Some processor, 2 threads"),
        ({"concurrent": 2}, "up to 2 trials at a time on the processors of one machine"),
        ({"gpu": {"name": "H100", "memory_gib": 80}}, None),  # the others do not say
        ({"memory_gib": 31.1, "node": 1}, None),  # equal machines differ by such trifles
        ({"concurrent": 8, "device_type": "cuda"}, "device_type cpu / cuda"),
    ],
)
def test_which_machines_are_alike(other: dict[str, Any], why: str | None, tmp_path: Path) -> None:
    run = run_on(tmp_path / "a", *[HERE] * 8, {**HERE, **other})
    assert why_no_time(run) == ([] if why is None else [why])


def test_gpus_of_one_machine_are_no_hindrance_to_each_other(tmp_path: Path) -> None:
    assert why_no_time(run_on(tmp_path / "a", *[{**HERE, "device_type": "cuda", "concurrent": 8}] * 9)) == []


def test_a_run_on_unlike_machines_has_accuracies_but_is_no_record(tmp_path: Path) -> None:
    alike = run_on(tmp_path / "a", *[HERE] * 9)
    unlike = run_on(tmp_path / "b", *[HERE] * 8, {**HERE, "device": "Other"})
    assert contradictions(unlike) == []
    assert verify(alike, 0.94).is_record
    verdict = verify(unlike, 0.94)
    assert [check.description for check in verdict.checks if not check.passed] == [
        "its seconds are no record of time: device Other / Some processor, 2 threads"
    ]
    assert "median" not in verdict.line
    assert verdict_lines(verdict)[-1].startswith("NO RECORD: airbench94_muon: 94.478% over n = 9")


def test_every_table_says_that_seconds_are_no_record(tmp_path: Path) -> None:
    alike = run_on(tmp_path / "a", *[HERE] * 4)
    unlike = run_on(tmp_path / "other", *[HERE] * 3, {**HERE, "device": "Other"})
    summary = summarize_run(unlike)
    assert summary["accuracy"]["n"] == 4
    assert summary["seconds"] is None
    assert summary["arithmetic"] is None
    assert NO_TIME in summary_rows([unlike])[1]
    assert NO_TIME in listing_rows([unlike])[1]
    said = "accuracies only, its seconds are no record of time"
    assert said in arithmetic_lines([unlike])[0]
    assert any(said in line for line in warnings([alike, unlike]))
    assert any(said in line for line in pooling_note([alike, unlike]))
    (comparison,) = compare_runs([alike, unlike])
    assert (
        "  time      not compared: the seconds of airbench94_muon, several are no record of time"
        in comparison_lines(comparison)
    )
    assert comparison.accuracy.p > 0.05
    for text in (markdown_report([alike, unlike]), html_report([alike, unlike])):
        assert said in text
        assert NO_TIME in text
    assert [row.split(",")[9] for row in csv_report([alike, unlike]).splitlines()[1:]] == ["10.375", ""]


def test_time_to_target_in_epochs_only(tmp_path: Path) -> None:
    short = run_on(tmp_path / "a", *[HERE] * 3, overrides=["train.epochs=4"])
    lines = [trial_line(i, 0.93 + i / 1000, machine={**HERE, "concurrent": 2}) for i in range(3)]
    shared = fake_run(tmp_path / "b", [], lines=lines, overrides=["train.epochs=3"])
    lengths = collect_lengths([shared, short])
    text = "\n".join(crossing_lines(lengths, 0.94, time_to_target(lengths, 0.94)))
    assert "reaches 94.00% at 3." in text
    assert " s" not in text


def test_a_run_is_told_by_the_machine_that_trained_it(tmp_path: Path) -> None:
    """On a cluster, run.json describes the worker that was ready first, and another may have trained every trial."""
    here, elsewhere = (
        run_on(tmp_path / "a", *[HERE] * 3),
        run_on(tmp_path / "other", *[{**HERE, "device": "Other"}] * 3),
    )
    assert why_no_time(elsewhere) == []
    assert "Other" in listing_rows([elsewhere])[1][3]
    assert any("differ in hardware: Other / Some processor, 2 threads" in line for line in warnings([here, elsewhere]))
    assert "of this machine's peak" in arithmetic_lines([here])[0]
    assert "peak" not in arithmetic_lines([elsewhere])[0]
    assert verdict_lines(verify(elsewhere, 0.94))[2].startswith("hardware  Other, ")
