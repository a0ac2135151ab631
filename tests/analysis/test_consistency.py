"""Edited run folders: each edit is contradicted by the rest of the folder, or by training a trial again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.analysis.compare import compare_runs
from airbench.analysis.consistency import contradictions
from airbench.analysis.reruns import Rerun, judge, prediction_interval
from airbench.analysis.summary import summarize_run
from airbench.analysis.time_to_target import collect_lengths
from airbench.analysis.variance import variance_sources
from airbench.analysis.verify import verify
from airbench.errors import AirbenchError
from airbench.runs import RunFolder, RunRecord, read_run
from tests.analysis.fake_runs import FACTS, fake_run, trial_line

GOOD = [0.9412, 0.9405, 0.9409, 0.9415, 0.9408, 0.9411, 0.9406, 0.9410]


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]


def rewrite(run: Path, rows: list[dict[str, Any]], *, chain_again: bool) -> RunRecord:
    """Replace the trials, by hand or, as a forger would, with all hashes computed anew."""
    if not chain_again:
        (run / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        (run / "trials.jsonl").write_text("")
        for row in rows:
            RunFolder(run).append_trial({k: v for k, v in row.items() if not k.endswith("sha256")})
    return read_run(run)


def change(row: dict[str, Any], **values: Any) -> None:
    row.update(values)


def last_epoch(row: dict[str, Any], **values: Any) -> None:
    row["epochs"][-1].update(values)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda row: change(row, accuracy=0.94057), "not a whole number of 10,000 images"),
        (lambda row: change(row, plain_accuracy=0.9001), "not that of its last epoch"),
        (lambda row: last_epoch(row, accuracy=0.93), "not that of its last epoch"),
        (lambda row: change(row, accuracy=0.999), "99.90% with test-time augmentation over 93.12% without"),
        (lambda row: change(row, seconds=0.001), "seconds do not follow"),
        (lambda row: change(row, wall_seconds=1.0), "seconds do not follow"),
        (lambda row: last_epoch(row, seconds=0.5), "seconds do not follow"),
        (lambda row: change(row, steps=20), "20 steps instead of 200"),
        (lambda row: change(row, epochs=[]), "not that of its last epoch"),
    ],
)
def test_figures_of_a_trial_that_contradict_each_other(
    edit: Callable[[dict[str, Any]], None], why: str, tmp_path: Path
) -> None:
    run = fake_run(tmp_path / "a", GOOD)
    assert contradictions(run) == []
    rows = lines_of(run.path)
    edit(rows[0])
    forged = rewrite(run.path, rows, chain_again=True)
    assert forged.problems == ()
    assert any(why in phrase for phrase in contradictions(forged)), contradictions(forged)
    assert not verify(forged, 0.94).is_record


@pytest.mark.parametrize(
    ("facts", "overrides", "why"),
    [
        ({"data": {**FACTS["data"], "train_fingerprint": "0" * 64}}, [], "other fingerprints"),
        ({"recipe_sha256": None}, [], "lacks the hash of the recipe"),
        ({}, ["data.held_out=5000"], "hold out different numbers"),
        ({"steps": 100}, [], "100 steps where the recipe has 200"),
        ({}, ["evaluate.tta=[]"], "has no test-time augmentation"),
    ],
)
def test_facts_of_a_run_that_contradict_each_other(
    facts: dict[str, Any], overrides: list[str], why: str, tmp_path: Path
) -> None:
    run = fake_run(tmp_path / "a", GOOD, overrides=overrides, **facts)
    assert any(why in phrase for phrase in contradictions(run)), contradictions(run)
    assert not verify(run, 0.94).is_record


def test_a_summary_of_other_trials(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD)
    (run.path / "summary.json").write_text(json.dumps({"accuracy": {"n": 8, "mean": 0.95}}))
    assert contradictions(run) == ["summary.json is not the summary of the trials"]
    true = summarize_run(run)
    (run.path / "summary.json").write_text(json.dumps({**true, "trials": 9}))
    assert contradictions(run) == ["summary.json is not the summary of the trials"]
    rounded = {**true["accuracy"], "low": true["accuracy"]["low"] * (1 + 1e-15)}
    older = summarize_run(fake_run(tmp_path / "b", GOOD[:5]))  # of a run that was killed after it had been resumed
    for summary in ({**true, "accuracy": rounded}, older):
        (run.path / "summary.json").write_text(json.dumps(summary))
        assert contradictions(run) == []


def _dropped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The worst trial is dropped, and the others are renumbered."""
    kept = [row for row in rows if row["trial"] != 1]
    return [{**row, "trial": i, "seed": i, "seeds": dict.fromkeys(row["seeds"], i)} for i, row in enumerate(kept)]


@pytest.mark.parametrize(
    "edit",
    [
        _dropped,
        lambda rows: [{**rows[0], "accuracy": 0.95}, *rows[1:]],
        lambda rows: [rows[1], rows[0], *rows[2:]],
        lambda rows: [*rows[:-1], {**rows[-1], "accuracy": 0.95}],
        lambda rows: [{k: v for k, v in row.items() if k != "previous_sha256"} for row in rows],
        lambda rows: [{k: v for k, v in row.items() if not k.endswith("sha256")} for row in rows],
    ],
    ids=["drop the worst", "edit the first", "swap two", "edit the last", "no links", "no hashes"],
)
def test_edits_by_hand_break_the_chain(
    edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], tmp_path: Path
) -> None:
    run = fake_run(tmp_path / "a", [*GOOD, 0.9407])
    assert verify(run, 0.94).is_record
    rows = lines_of(run.path)
    forged = rewrite(run.path, edit(rows), chain_again=False)
    assert [check.passed for check in verify(forged, 0.94).checks[:2]] != [True, True]


def test_a_run_json_that_is_edited_breaks_the_chain(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD, trials_planned=9)
    facts = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**facts, "trials_planned": 8}))
    assert any("not the line that was written there" in problem for problem in read_run(run.path).problems)


def test_a_resumed_run_stays_chained_and_cannot_hide_it(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD[:4], trials_planned=8)
    facts = json.loads((run.path / "run.json").read_text())
    resumed = [{"at": "now", "changed": ["threads was 2, is now 4"]}]
    (run.path / "run.json").write_text(json.dumps({**facts, "resumed": resumed}))
    for index, accuracy in enumerate(GOOD[4:], start=4):
        RunFolder(run.path).append_trial(trial_line(index, accuracy))
    assert read_run(run.path).problems == ()
    (run.path / "run.json").write_text(json.dumps(facts))
    assert len(read_run(run.path).problems) == 4


@given(st.data())
def test_any_bit_changed_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    run = fake_run(tmp_path_factory.mktemp("chain") / "a", GOOD[:3])
    content = bytearray((run.path / "trials.jsonl").read_bytes())
    where = data.draw(st.integers(0, len(content) - 2))
    content[where] ^= data.draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
    (run.path / "trials.jsonl").write_bytes(content)
    again = read_run(run.path)
    if again.chained and not again.problems:  # the last digit of a number may be another, and the number the same
        assert again.trials == run.trials


def test_a_rerun_on_the_same_machine_must_be_the_same_to_the_last_bit(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD)
    recorded = run.finished[0]
    assert judge(run, Rerun(recorded, recorded, ()), 1)[0]
    other = fake_run(tmp_path / "b", [0.9413]).finished[0]
    passed, why = judge(run, Rerun(recorded, other, ()), 1)
    assert not passed
    assert "94.13%, recorded 94.12%; losses and accuracies DIFFER" in why


@pytest.mark.parametrize(("accuracy", "inside"), [(0.9410, True), (0.9400, True), (0.9390, False), (0.9430, False)])
def test_a_rerun_elsewhere_must_fit_the_other_trials(accuracy: float, inside: bool, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD)
    again = fake_run(tmp_path / "b", [accuracy]).finished[0]
    rerun = Rerun(run.finished[0], again, ("threads was 2, is now 4",))
    assert judge(run, rerun, 1)[0] == inside
    assert verify(run, 0.94, [rerun]).is_record == inside
    alone = fake_run(tmp_path / "c", [0.9410])
    assert "too few other trials" in judge(alone, Rerun(alone.finished[0], again, ("x",)), 1)[1]
    same = Rerun(alone.finished[0], alone.finished[0], ("on cuda kernels are chosen anew",))
    assert judge(alone, same, 1)[0]  # equal to the last bit is enough anywhere


def test_the_prediction_interval_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(4000):
        *others, value = rng.normal(0.94, 0.0015, 6)
        low, high = prediction_interval(others, 0.05)
        held.append(low <= value <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)


def test_seconds_that_no_machine_could_need(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD, seconds=[0.001] * len(GOOD))
    assert any("too few for its arithmetic on this machine: 5.8 at least" in what for what in contradictions(run))


@pytest.mark.parametrize(
    ("left_out", "why"),
    [("steps", "does not say its steps"), ("machine", "does not say its machine"), ("wall_seconds", "wall_seconds")],
)
def test_a_trial_that_leaves_something_out(left_out: str, why: str, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD, lines=[trial_line(len(GOOD), 0.94, **{left_out: None})])
    assert any(why in what for what in contradictions(run)), contradictions(run)


def test_a_trial_of_another_machine(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD, lines=[trial_line(len(GOOD), 0.94, machine={"device": "Other"})])
    assert any("on another machine than the run says" in what for what in contradictions(run))


def test_a_copy_of_a_run_adds_no_trials(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD)
    shutil.copytree(run.path, tmp_path / "b")
    copy = read_run(tmp_path / "b")
    for use in (compare_runs, variance_sources, collect_lengths):
        with pytest.raises(AirbenchError, match=r"hold the same trial .* a copy, or the same seeds trained twice"):
            use([run, copy])


def test_bytes_that_are_no_text_leave_a_run_whole(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD, environment={**FACTS["environment"], "variables": {"PYTHONPATH": "o\udcff"}})
    assert run.problems == ()
    assert run.chained


def test_text_that_moves_the_cursor_is_not_printed(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD, environment={**FACTS["environment"], "device": "evil\x1b[2J\ncpu"})
    assert run.text("environment", "device") == "evil?[2J?cpu"


def test_seconds_beyond_any_clock_are_damage(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", GOOD, lines=[trial_line(len(GOOD), 0.94, seconds=1e300, wall_seconds=1e300)])
    assert any("not a trial" in problem for problem in run.problems)
