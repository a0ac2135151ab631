"""Run folders: nothing finished is lost, whatever happens to the disk or the process."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from airbench.recipe import load_recipe
from airbench.runs import RunFolder, RunFolderError, summarize_trials
from tests.conftest import tiny


def create(root: Path) -> RunFolder:
    return RunFolder.create(root, tiny().recipe, {"seed": 0})


def line(trial: int, accuracy: float = 0.94, **more: object) -> dict[str, object]:
    return {
        "trial": trial, "status": "finished", "accuracy": accuracy, "plain_accuracy": accuracy - 0.01,
        "seconds": 10.0 + trial, **more,
    }  # fmt: skip


def test_stored_recipe_trains_again_as_it_is(tmp_path: Path) -> None:
    folder = create(tmp_path)
    assert load_recipe(folder.path / "recipe.yaml").recipe == tiny().recipe


def test_folders_of_one_second_differ(tmp_path: Path) -> None:
    paths = {create(tmp_path).path for _ in range(5)}
    assert len(paths) == 5


def test_lines_come_back_and_a_cut_one_is_left_out(tmp_path: Path) -> None:
    folder = create(tmp_path)
    folder.append_trial(line(0))
    with open(folder.path / "trials.jsonl", "a") as file:
        file.write('{"trial": 1, "status": "fini')
    folder.append_trial(line(2))
    assert [t["trial"] for t in folder.trials()] == [0, 2]


def _write_until_killed(path: Path) -> None:
    folder = RunFolder(path)
    trial = 0
    while True:
        folder.append_trial(line(trial, filler="x" * 20_000))
        trial += 1


def test_kill_at_any_moment_loses_no_finished_trial(tmp_path: Path) -> None:
    folder = create(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=_write_until_killed, args=(folder.path,))
    process.start()
    while len(folder.trials()) < 5:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    trials = folder.trials()
    assert [t["trial"] for t in trials] == list(range(len(trials)))
    assert len(trials) >= 5


def test_full_disk_keeps_what_is_there_and_prints_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = create(tmp_path)
    folder.append_trial(line(0))
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    with pytest.raises(RunFolderError, match=r"No space left.*the finished trial was: .*\"trial\": 1"):
        folder.append_trial(line(1))
    monkeypatch.undo()
    assert [t["trial"] for t in folder.trials()] == [0]
    folder.append_trial(line(2))
    assert [t["trial"] for t in folder.trials()] == [0, 2]


def test_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="no run folder can be written there"):
        create(tmp_path / "file")
    with pytest.raises(RunFolderError, match="is no run folder"):
        RunFolder(tmp_path / "gone").trials()


def test_summary_counts_failures_and_never_calls_a_failed_run_a_success(tmp_path: Path) -> None:
    trials = [line(0, 0.95), line(1, 0.94), {"trial": 2, "status": "failed", "reason": "nan"}]
    summary = summarize_trials(trials, 0.94)  # type: ignore[arg-type]
    assert (summary["finished"], summary["failed"]) == (2, 1)
    assert summary["accuracy"]["mean"] == pytest.approx(0.945)
    assert not summary["target_reached"]
    assert summarize_trials(trials[:2], 0.94)["target_reached"]  # type: ignore[arg-type]
    assert summarize_trials([], 0.94)["accuracy"] is None


def test_summary_of_one_trial_is_valid_json(tmp_path: Path) -> None:
    folder = create(tmp_path)
    folder.append_trial(line(0))
    folder.write_summary(0.94)
    text = (folder.path / "summary.json").read_text()
    saved = json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert saved["accuracy"]["std"] is None
    assert saved["target_reached"]
