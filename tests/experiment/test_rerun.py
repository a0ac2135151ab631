"""`airbench verify --rerun`: an honest run is confirmed, a forged one is found out."""

import json
from pathlib import Path

import pytest

from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.runs import RunFolder
from tests.conftest import CONFIGS, TINY
from tests.experiment.test_run import only

MUON = str(CONFIGS / "records" / "airbench94_muon.yaml")


@pytest.fixture
def run(few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["train", MUON, *TINY, "--trials", "3", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    return only(tmp_path)


def forge(run: Path) -> None:
    """Add an image to each accuracy, everywhere, and compute all hashes and the summary anew."""
    rows = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    images = json.loads((run / "run.json").read_text())["data"]["test_images"]
    (run / "trials.jsonl").write_text("")
    (run / "summary.json").unlink()
    for row in rows:
        row["accuracy"] += 1 / images
        RunFolder(run).append_trial({key: value for key, value in row.items() if not key.endswith("sha256")})


def test_an_honest_run_is_confirmed_to_the_last_bit(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.read_bytes() for file in run.iterdir()}
    main(["verify", str(run), "--target", "0.5", "--rerun", "2"])
    out = capsys.readouterr().out
    assert out.count("equal to the last bit") == 2
    assert "  ok    trial" in out
    assert {file: file.read_bytes() for file in run.iterdir()} == before


def test_a_forged_run_is_found_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forge(run)
    main(["verify", str(run), "--target", "0.5"])
    assert "contradict" not in capsys.readouterr().out
    assert main(["verify", str(run), "--target", "0.5", "--rerun", "1"]) == 1
    assert "losses and accuracies DIFFER" in capsys.readouterr().out


def test_on_another_number_of_threads_the_accuracy_must_fit(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = run / "recipe.yaml"
    threads = json.loads((run / "run.json").read_text())["environment"]["threads"]
    recipe.write_text(recipe.read_text().replace("threads: null", f"threads: {threads + 1}"))
    main(["verify", str(run), "--target", "0.5", "--rerun", "1"])
    out = capsys.readouterr().out
    assert "interval of the other trials" in out or "equal to the last bit" in out  # so small sums may be the same
    assert "recipe.yaml: changed since the run was started" in out


def test_more_trials_than_there_are(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(run), "--target", "0.5", "--rerun", "9"]) == 2
    assert "--rerun 9: only 3 finished trials" in capsys.readouterr().err
