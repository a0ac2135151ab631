"""Experiments go on where they were cut off, with the seeds that they would have had, or say why not."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from airbench.cli import main
from airbench.data.cache import write_cache
from airbench.data.dataset import Dataset
from airbench.data.shapes import SHAPES_VERSION
from airbench.device import _Threads
from airbench.experiment.facts import what_changed
from airbench.experiment.run import Options, Run, jobs_of, run_experiment
from airbench.experiment.tensorboard import TensorBoard
from airbench.recipe import load_recipe
from airbench.runs import RunFolder, RunFolderError, read_run
from airbench.runs.files import UnsavedTrialError
from airbench.training.callback import Callback
from airbench.training.loop import run_trial
from airbench.training.results import TrialResult
from tests.analysis.fake_runs import fake_run
from tests.conftest import CONFIGS, TINY, interrupt_at, tiny

MUON, SGD = str(CONFIGS / "records" / "airbench94_muon.yaml"), str(CONFIGS / "records" / "airbench94.yaml")


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def accuracies(path: Path) -> list[float]:
    return [t.accuracy for t in read_run(path).trials]


def interrupted_run(out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two trials that was interrupted in the second."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert main(["train", MUON, *TINY, "--trials", "2", "--out", str(out)]) == 130
    return only(out)


def test_resumed_run_equals_an_uninterrupted_one(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", MUON, *TINY, "--trials", "3", "--seed", "7", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert main([*command, str(tmp_path / "cut")]) == 130
    cut = only(tmp_path / "cut")
    assert len(accuracies(cut)) == 1
    assert f"airbench resume {cut}" in capsys.readouterr().out
    assert main(["resume", str(cut)]) == 0
    assert accuracies(cut) == accuracies(only(tmp_path / "whole"))
    assert [t.seed for t in read_run(cut).trials] == [7, 8, 9]
    assert json.loads((cut / "summary.json").read_text())["finished"] == 3
    assert [entry["changed"] for entry in read_run(cut).facts["resumed"]] == [[]]


def test_two_interleaved_runs_resume_together(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert main(["train", MUON, SGD, *TINY, "--trials", "2", "--out", str(tmp_path)]) == 130
    runs = [next(tmp_path.glob(f"*-{name}")) for name in ("airbench94_muon", "airbench94")]
    assert [len(accuracies(run)) for run in runs] == [1, 0]
    assert main(["train", "--resume", *map(str, runs)]) == 0
    assert [len(accuracies(run)) for run in runs] == [2, 2]


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_workers_that_take_turns_do_not_divide_the_recipes_between_them(workers: int, tmp_path: Path) -> None:
    recipes = [load_recipe(name) for name in ("airbench94_muon", "hiverge")]
    runs = [Run(each, RunFolder(tmp_path), 0, tuple(range(200))) for each in recipes]
    assert [(job.index, job.run) for job in jobs_of(runs)] == [(i, run) for i in range(200) for run in (0, 1)]
    jobs = jobs_of(runs, shuffled=True)
    assert all({job.run for job in jobs[i : i + 2]} == {0, 1} for i in range(0, 400, 2))
    assert [job.index for job in jobs] == [job.seed for job in jobs] == [i for i in range(200) for _ in (0, 1)]
    for worker in range(workers):
        mine = [job.run for job in jobs[worker::workers]]
        assert 0.4 < sum(mine) / len(mine) < 0.6


def test_a_finished_run_has_nothing_to_resume(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", MUON, *TINY, "--out", str(tmp_path)]) == 0
    assert "no trial is missing" not in capsys.readouterr().out
    before = accuracies(only(tmp_path))
    assert main(["resume", str(only(tmp_path))]) == 0
    assert f"{only(tmp_path)}: no trial is missing; only its summary is written anew" in capsys.readouterr().out
    assert accuracies(only(tmp_path)) == before


def test_a_finished_run_stays_as_it_is_whatever_has_changed_since(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", MUON, *TINY, "--out", str(tmp_path)]) == 0
    known = (only(tmp_path) / "run.json").read_bytes()
    (only(tmp_path) / "summary.json").write_text("{}")
    monkeypatch.setattr("airbench.experiment.environment.source_hash", lambda: "f" * 64)
    for force in ([], ["--force"]):
        assert main(["resume", str(only(tmp_path)), *force]) == 0
        assert (only(tmp_path) / "run.json").read_bytes() == known
    assert json.loads((only(tmp_path) / "summary.json").read_text())["finished"] == 1


def test_a_run_folder_that_is_gone_does_not_hide_its_finished_trial(few_shapes: Dataset, tmp_path: Path) -> None:
    class Remove(Callback):
        def on_end(self, result: TrialResult) -> None:
            shutil.rmtree(only(tmp_path))

    recipes = [tiny("airbench94_muon.yaml")]
    with pytest.raises(UnsavedTrialError, match=r"the finished trial was: .*accuracy"):
        run_experiment(recipes, trials=1, seed=0, out=tmp_path, options=Options(callbacks=[Remove()]))


def test_weights_that_do_not_fit_on_the_disk_are_said_to_be_lost(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(folder: RunFolder, name: str, data: bytes) -> None:
        raise RunFolderError(f"{name}: cannot be written (No space left on device)")

    real = RunFolder.write_bytes
    monkeypatch.setattr(RunFolder, "write_bytes", lambda *a: write(*a) if "weights" in a[1] else real(*a))
    assert main(["train", MUON, *TINY, "--seed", "7", "--save", "weights", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "the weights of trial 0 are lost" in error
    assert "--trials 1 --seed 7" in error
    assert len(accuracies(only(tmp_path))) == 1


def test_resume_refuses_after_a_change_and_records_a_forced_one(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = interrupted_run(tmp_path, monkeypatch)
    capsys.readouterr()
    monkeypatch.setattr("airbench.experiment.environment.source_hash", lambda: "f" * 64)
    assert main(["resume", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "source.sha256 was" in error
    assert len(accuracies(path)) == 1
    assert main(["resume", str(path), "--force"]) == 0
    assert len(accuracies(path)) == 2
    assert "source.sha256" in read_run(path).facts["resumed"][0]["changed"][0]
    assert main(["verify", str(path)]) == 1


def test_resume_refuses_an_edited_recipe(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = interrupted_run(tmp_path, monkeypatch)
    text = (path / "recipe.yaml").read_text()
    (path / "recipe.yaml").write_text(text.replace("lr: 0.24", "lr: 0.25"))
    assert main(["resume", str(path)]) == 2
    assert "recipe.yaml: changed since the run was started" in capsys.readouterr().err


def test_full_disk_prints_the_finished_trial_also_when_the_summary_fails(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def then_fill(*arguments: object) -> object:
        result = run_trial(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(os, "fsync", full)
        return result

    monkeypatch.setattr("airbench.experiment.worker.run_trial", then_fill)
    assert main(["train", MUON, *TINY, "--trials", "2", "--out", str(tmp_path)]) == 2
    monkeypatch.setattr(os, "fsync", real)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'the finished trial was: {"trial": 0' in error
    assert accuracies(only(tmp_path)) == []


def test_training_goes_on_when_nobody_reads(few_shapes: Dataset, tmp_path: Path, small_shapes: Dataset) -> None:
    process = start(tmp_path, small_shapes, "train", MUON, *TINY, "--trials", "2", "--out", str(tmp_path / "runs"))
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    assert process.wait(timeout=120) == 0, errors
    assert len(accuracies(only(tmp_path / "runs"))) == 2


@pytest.mark.parametrize("first", [True, False])
def test_each_recipe_computes_with_its_own_threads(
    first: bool, few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tmp_path / "one.yaml"
    one.write_text(f"extends: {MUON}\nengine: {{threads: 1}}\n")
    before = torch.get_num_threads()
    monkeypatch.setattr("airbench.device._THREADS", _Threads())
    try:
        torch.set_num_threads(2)
        recipes = [str(one), MUON] if first else [MUON, str(one)]
        assert main(["train", *recipes, *TINY, "--out", str(tmp_path / "runs")]) == 0
    finally:
        torch.set_num_threads(before)
    threads = {
        path.name.rpartition("-")[2]: read_run(path).fact("environment", "threads")
        for path in (tmp_path / "runs").iterdir()
    }
    assert threads == {"airbench94_muon": 2, "one": 1}


def test_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(tmp_path)]) == 2
    assert main(["train", "--resume", str(tmp_path), MUON]) == 2
    assert main(["train", MUON, "--resume", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_what_changed_names_each_fact() -> None:
    before = {"steps": 5, "environment": {"threads": 2}}
    assert what_changed(before, before) == []
    assert what_changed(before, {**before, "environment": {"threads": 4}}) == ["environment.threads was 2, is now 4"]


def start(tmp_path: Path, small_shapes: Dataset, *arguments: str) -> subprocess.Popen[str]:
    write_cache(small_shapes, tmp_path / "cache" / f"shapes-v{SHAPES_VERSION}-0.npz")
    env = {**os.environ, "AIRBENCH_CACHE": str(tmp_path / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "airbench", *arguments],
        cwd=CONFIGS.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A suite that a shell runs in the background ignores Ctrl-C, and its children would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def wait_for_trials(folder: Path, count: int) -> Path:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in folder.glob("*/trials.jsonl"):
            if path.read_text().count("\n") >= count:
                return path.parent
        time.sleep(0.02)
    raise AssertionError("no trial finished in two minutes")


def test_a_killed_process_resumes_to_the_same_accuracies(tmp_path: Path, small_shapes: Dataset) -> None:
    out = tmp_path / "runs"
    command = ["train", MUON, *TINY, "train.epochs=1", "--trials", "30", "--out", str(out)]
    process = start(tmp_path, small_shapes, *command)
    path = wait_for_trials(out, 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = accuracies(path)
    assert 3 <= len(finished) < 30
    resumed = start(tmp_path, small_shapes, "resume", str(path))
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    run = read_run(path)
    assert [t.index for t in run.trials] == list(range(30))
    assert [t.accuracy for t in run.trials][: len(finished)] == finished
    assert not run.missing


def test_ctrl_c_in_a_real_process_ends_cleanly_and_says_how_to_go_on(tmp_path: Path, small_shapes: Dataset) -> None:
    out = tmp_path / "runs"
    process = start(tmp_path, small_shapes, "train", MUON, *TINY, "--trials", "500", "--out", str(out))
    path = wait_for_trials(out, 1)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert f"airbench resume {path}" in printed
    assert json.loads((path / "summary.json").read_text())["finished"] >= 1


def test_a_scheduler_that_ends_the_program_is_answered_like_ctrl_c(tmp_path: Path, small_shapes: Dataset) -> None:
    out = tmp_path / "runs"
    process = start(tmp_path, small_shapes, "train", MUON, *TINY, "--trials", "500", "--out", str(out))
    path = wait_for_trials(out, 1)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "interrupted (SIGTERM)" in errors
    assert f"airbench resume {path}" in printed


def test_trials_that_vanish_are_an_error(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def then_remove(*arguments: object) -> object:
        result = run_trial(*arguments)  # type: ignore[arg-type]
        (only(tmp_path) / "trials.jsonl").unlink()
        return result

    monkeypatch.setattr("airbench.experiment.worker.run_trial", then_remove)
    assert main(["train", MUON, *TINY, "--out", str(tmp_path)]) == 2
    assert 'the finished trial was: {"trial": 0' in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_trained_into(
    number: int,
    few_shapes: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr("os.chmod", refuse)  # and without modes
    assert main(["train", MUON, *TINY, "train.epochs=1", "--out", str(tmp_path)]) == 0
    assert len(accuracies(only(tmp_path))) == 1
    assert capsys.readouterr().err.count("this file system has no locks") == 1


def test_what_makes_a_record_impossible_is_said_before_the_first_trial(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "fatal: detected dubious ownership (remedy: git config --global --add safe.directory /x)"
    source = {"sha256": "0" * 64, "git_commit": None, "committed": False, "note": note}
    monkeypatch.setattr("airbench.experiment.facts.describe_source", lambda: (source, ""))
    monkeypatch.setattr("airbench.data.dataset.Dataset.genuine", True)
    assert main(["train", MUON, *TINY, "train.epochs=1", "--out", str(tmp_path)]) == 0
    before, _, _ = capsys.readouterr().out.partition("recipe  ")
    assert f"this run cannot be a record, since the code is not committed: {note}" in before


def test_a_path_that_is_no_text_is_recorded_escaped(few_shapes: Dataset, tmp_path: Path) -> None:
    out = os.fsdecode(os.fsencode(tmp_path) + b"/out\xff")
    assert main(["train", MUON, *TINY, "train.epochs=1", "--out", out]) == 0
    run = read_run(only(Path(out)))
    assert len(run.finished) == 1
    assert run.problems == ()


def test_a_second_process_does_not_train_into_the_same_folder(tmp_path: Path, small_shapes: Dataset) -> None:
    out = tmp_path / "runs"
    process = start(tmp_path, small_shapes, "train", MUON, *TINY, "--trials", "500", "--out", str(out))
    path = wait_for_trials(out, 1)
    second = start(tmp_path, small_shapes, "resume", str(path))
    _, errors = second.communicate(timeout=60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert second.returncode == 2
    assert "another process is training this run" in errors


class BrokenWriter:
    """A writer of TensorBoard's on a full disk."""

    def add_scalar(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("written", ["nothing", "no file"])
def test_a_tensorboard_that_cannot_write_ends_no_run(
    written: str,
    few_shapes: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def make(_: str) -> BrokenWriter:
        if written == "no file":
            raise PermissionError(errno.EACCES, "Permission denied")
        return BrokenWriter()

    def initialise(self: TensorBoard) -> None:
        self.make_writer = make  # type: ignore[assignment]

    monkeypatch.setattr(TensorBoard, "__init__", initialise)
    assert main(["train", MUON, *TINY, "--trials", "2", "--tensorboard", "--out", str(tmp_path)]) == 0
    assert len(accuracies(only(tmp_path))) == 2
    assert capsys.readouterr().err.count("TensorBoard gets no more of this trial") == 2


def test_a_run_is_resumed_with_the_plugins_that_it_began_with() -> None:
    before = {"source": {"sha256": "a", "plugins": {"lion.py": "b"}}}
    (changed,) = what_changed(before, {"source": {"sha256": "a", "plugins": {"lion.py": "c"}}})
    assert changed == "source.plugins.lion.py was b, is now c"


def test_a_run_that_is_named_twice_is_resumed_once_or_not_at_all(
    tmp_path: Path, few_shapes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", MUON, *TINY, "--out", str(tmp_path)]) == 0
    run = str(only(tmp_path))
    assert main(["resume", run, run]) == 2
    assert "is named twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["train", "--resume", "RUN", "--print-recipe"], "--resume takes recipe"),
        (["train", "--resume", "RUN", "--out", "elsewhere"], "--resume takes recipe"),
        (["train", MUON, "--force"], "--force belongs to --resume"),
        (["verify", "RUN", "--device", "cpu"], "belong to --rerun"),
        (["compare", "RUN", "RUN2", "train.epochs=4"], "train.epochs=4: for recipes that are trained"),
        (["compare", "RUN", "RUN2", "--device", "cpu"], "--device: for recipes that are trained"),
        (
            ["compare", "RUN", "RUN2", "--trials", "10", "--seed", "0", "--isolate"],
            "--trials, --seed, --isolate: for rec",
        ),
        (["variance", "RUN", "RUN2", "--out", "runs", "--ray"], "--out, --ray: for recipes that are trained"),
        (["compare", MUON, MUON], "are the same recipe"),
        (["train", MUON, "--vary", "train.epochs=1,2", "--vary", "train.epochs=5,6"], "train.epochs is given twice"),
        (["sweep", MUON, "--axis", "train.epochs=1,2", "--no-prune"], "--no-prune belongs to --tpe"),
    ],
)
def test_options_without_effect_are_refused(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {"RUN": tmp_path / "a", "RUN2": tmp_path / "b"}
    for folder in runs.values():
        fake_run(folder, [0.94, 0.941])
    try:
        code = main([str(runs.get(word, word)) for word in words])
    except SystemExit as answered_by_argparse:
        code = int(str(answered_by_argparse.code))
    assert code == 2
    assert why in capsys.readouterr().err


def test_a_run_whose_accuracy_was_edited_is_not_resumed_nor_compared_without_a_word(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = interrupted_run(tmp_path / "cut", monkeypatch)
    trials = cut / "trials.jsonl"
    row = json.loads(trials.read_text())
    trials.write_text(json.dumps({**row, "accuracy": 0.99}) + "\n")
    capsys.readouterr()
    assert main(["resume", str(cut)]) == 2
    assert "not resumed" in (error := capsys.readouterr().err)
    assert "trials.jsonl:1: changed" in error
    assert main(["train", MUON, *TINY, "--trials", "2", "--seed", "5", "--out", str(tmp_path / "other")]) == 0
    capsys.readouterr()
    assert main(["compare", str(cut), str(only(tmp_path / "other"))]) == 0
    assert "damaged: trials.jsonl:1: changed" in capsys.readouterr().err
