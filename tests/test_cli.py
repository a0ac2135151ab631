"""The command line from outside: what it prints, what it leaves, what it exits with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.trial import Trainer
from tests.conftest import CONFIGS, TINY

ROOT = CONFIGS.parent
MUON, SGD = str(CONFIGS / "airbench94_muon.yaml"), str(CONFIGS / "sgd.yaml")


def test_training_two_recipes_in_turn(few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["train", MUON, SGD, *TINY, "--trials", "2", "--seed", "5", "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert code == 0
    finals = [row.split()[:2] for row in out.splitlines() if " final " in row]
    assert finals == [["airbench94_muon", "1"], ["sgd", "1"], ["airbench94_muon", "2"], ["sgd", "2"]]
    assert "\r" not in out  # no bar where there is no terminal
    assert "not reached" in out
    folders = sorted(p for p in tmp_path.iterdir())
    assert [f.name.split("-", 2)[2] for f in folders] == ["airbench94_muon", "sgd"]
    for folder in folders:
        trials = [json.loads(row) for row in (folder / "trials.jsonl").read_text().splitlines()]
        assert [t["seed"] for t in trials] == [5, 6]
        assert all(len(t["epochs"]) == 2 for t in trials)
        run = json.loads((folder / "run.json").read_text())
        assert run["data"]["train_fingerprint"] == few_shapes.train.fingerprint
        assert set(run["routing"]) == {"filters", "whiten_bias", "biases", "head"}
        assert run["environment"]["packages"]["torch"]
        assert len(run["source"]["sha256"]) == 64
        assert json.loads((folder / "summary.json").read_text())["finished"] == 2


def test_a_failed_trial_is_recorded_and_the_others_go_on(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = ["optimizers.head.lr=1e30", "train.epochs=20"]
    code = main(["train", SGD, *TINY, *bad, "--trials", "2", "--out", str(tmp_path)])
    assert code == 1
    (folder,) = tmp_path.iterdir()
    trials = [json.loads(row) for row in (folder / "trials.jsonl").read_text().splitlines()]
    assert [t["status"] for t in trials] == ["failed", "failed"]
    assert "lower lr" in trials[0]["reason"]
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "nowhere.yaml"], "no such file"),
        (["train", MUON, "train.epoch=3"], "did you mean 'epochs'?"),
        (["train", "train.epochs=3"], "no recipe is named"),
        (["train", MUON, "--data", "/nowhere"], "/nowhere: no such file"),
        (["train", MUON, "--device", "tpu"], "device = \"tpu\""),
        (["train", MUON, *TINY, "train.batch_size=50001"], "there are only 400"),
        (["train", MUON, *TINY, "optimizers.head.params=nothing"], "matches no trainable parameter"),
        (["train", MUON, *TINY, "--precision", "fp16"], "precision = fp16"),
        (["data", "--data", "/nowhere"], "no such file"),
        (["data", "--import", "/nowhere"], "no such file"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    arguments: list[str], expected: str, few_shapes: Dataset, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if arguments[0] == "train":
        arguments = [*arguments, "--out", str(tmp_path)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("airbench: ")
    assert error.count("\n") == 1
    assert expected in error
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_finished_trials(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = Trainer.run, []

    def interrupted(self: Trainer, *arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "run", interrupted)
    assert main(["train", MUON, *TINY, "--trials", "3", "--out", str(tmp_path)]) == 130
    (folder,) = tmp_path.iterdir()
    assert len((folder / "trials.jsonl").read_text().splitlines()) == 1
    assert json.loads((folder / "summary.json").read_text())["finished"] == 1
    assert "interrupted" in capsys.readouterr().err


def test_print_recipe_prints_a_recipe_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", MUON, "train.epochs=3", "--print-recipe", "--out", str(tmp_path)]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert main(["train", str(printed), "--print-recipe"]) == 0
    assert capsys.readouterr().out == printed.read_text()
    assert "epochs: 3.0" in printed.read_text()


def test_data_says_where_images_come_from(few_shapes: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(CONFIGS / "quickstart.yaml")]) == 0
    out = capsys.readouterr().out
    assert "built-in" in out
    assert few_shapes.train.fingerprint in out


@pytest.mark.parametrize("door", [["train.py"], ["-m", "airbench.cli", "train"]])
def test_help_needs_no_torch_and_explains(door: list[str]) -> None:
    code = "import sys; sys.modules['torch'] = None; sys.argv = ['x', '--help']; import runpy; runpy.run_path('train.py', run_name='__main__')"
    command = [sys.executable, "-c", code] if door == ["train.py"] else [sys.executable, *door, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in ("--trials", "--seed", "--print-recipe", "What is timed", "AIRBENCH_DATA"):
        assert part in done.stdout


def test_importing_airbench_loads_no_torch() -> None:
    code = "import sys, airbench, airbench.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_interrupting_the_real_process(tmp_path: Path, small_shapes: Dataset) -> None:
    command = [sys.executable, "train.py", MUON, *TINY, "data.train_images=2000", "train.epochs=1000", "--out", str(tmp_path)]
    env = {**os.environ, "AIRBENCH_CACHE": str(tmp_path / "cache")}
    from airbench.data.cache import write_cache
    from airbench.data.shapes import SHAPES_VERSION, draw_shapes

    write_cache(draw_shapes(train_images=2000, test_images=100), tmp_path / "cache" / f"shapes-v{SHAPES_VERSION}-0.npz")
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for row in process.stdout:
        if row.split()[2:3] == ["1"]:  # the first epoch is over
            break
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
