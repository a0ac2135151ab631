"""A sweep: every setting trained and kept, the best trained again, whatever interrupts it."""

import json
import shutil
from pathlib import Path

import pytest

from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.errors import AirbenchError, TrialError
from airbench.recipe import load_recipe
from airbench.recipe.data import Data
from airbench.runs import find_runs, read_run
from airbench.runs.folder import locked
from airbench.sweep.folder import AGAIN, SEARCH, read
from airbench.sweep.results import result_lines, winner
from airbench.sweep.trained import accuracies, best
from airbench.training.setup import TrialSetup
from airbench.training.warmup import warm_up
from tests.conftest import TINY, interrupt_at

WORDS = [*TINY, "train.epochs=1"]
AXES = ["--axis", "optimizers.head.lr=0.0001,0.67,2", "--trials", "2", "--held-out", "100"]


@pytest.fixture
def command(few_shapes: Dataset, tmp_path: Path) -> list[str]:
    return ["sweep", "airbench94_muon", *WORDS, *AXES, "--top", "2", "--again", "2", "--out", str(tmp_path)]


def without_seconds(lines: list[str]) -> list[str]:
    """Return what a sweep says, except for the line on its cost."""
    return [line for line in lines if not line.startswith("cost: ")]


def folder_of(tmp_path: Path) -> Path:
    (folder,) = tmp_path.iterdir()
    return folder


def test_a_sweep_from_end_to_end(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 0
    printed = capsys.readouterr().out
    sweep = read(folder_of(tmp_path))
    assert [setting["optimizers.head.lr"] for setting in sweep.settings] == ["0.0001", "0.67", "2"]
    runs = [sweep.run_of(number) for number in range(3)]
    assert [len(accuracies(run)) for run in runs] == [2, 2, 2]
    for run, setting in zip(runs, sweep.settings, strict=True):
        assert run is not None
        assert run.problems == ()
        assert run.setting("optimizers", "head", "lr") == float(setting["optimizers.head.lr"])
        assert run.fact("data", "held_out") == 100
        assert run.fact("data", "train_images") == 300
        assert [trial.seed for trial in run.finished] == [0, 1]
    again = [number for number in range(3) if sweep.run_of(number, AGAIN)]
    assert sorted(again) == sorted(best(sweep, 2))
    fresh = sweep.run_of(winner(sweep), AGAIN)
    assert fresh is not None
    assert [trial.seed for trial in fresh.finished] == [1_000_000, 1_000_001]
    assert max(sum(accuracies(sweep.run_of(n, AGAIN))) for n in again) == sum(accuracies(fresh))
    assert "lr=0.0001" in printed
    assert f"best: lr={sweep.settings[winner(sweep)]['optimizers.head.lr']}" in printed
    assert (sweep.path / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    lines = printed.splitlines()
    assert sum(line.startswith("  filters ") for line in lines) == 1  # the setup, once for all settings
    assert sum("evaluated on 100 of the 400 training images" in line for line in lines) == 1
    shown = [line.split(",")[0] for line in lines if line.startswith("  trial ")]
    order = [*(sweep.run_of(n) for n in range(3)), *(sweep.run_of(n, AGAIN) for n in best(sweep, 2))]
    trials = [trial for run in order if run is not None for trial in run.finished]
    assert shown == [f"  trial {trial.index}: {trial.accuracy:.2%}" for trial in trials]


def test_the_recipe_of_the_best_is_ready_to_be_trained(command: list[str], tmp_path: Path) -> None:
    assert main(command) == 0
    sweep = read(folder_of(tmp_path))
    recipe = load_recipe(sweep.path / "best.yaml").recipe
    assert recipe.optimizers["head"].lr == float(sweep.settings[winner(sweep)]["optimizers.head.lr"])
    assert recipe.name == "airbench94_muon-best"
    assert recipe.data.held_out is None  # the search is over: on all images
    assert recipe.net.widths == (4, 8, 8)  # type: ignore[attr-defined]


def test_a_sweep_is_no_run(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 0
    folder = folder_of(tmp_path)
    inside = find_runs(tmp_path)
    assert sorted(path.parent.name for path in inside) == [AGAIN] * 2 + [SEARCH] * 3
    for words in (["resume"], ["verify"], ["compare", str(inside[0])]):
        assert main([*words, str(folder)]) == 2
        assert f"{folder}: not a run folder (no run.json or trials.jsonl in it); it holds 5 runs, such as" in (
            capsys.readouterr().err
        )


def test_an_interrupted_sweep_goes_on_to_the_same_end(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)  # the second trial of the second setting
        assert main(command) == 130
    folder = folder_of(tmp_path)
    assert f"airbench sweep --resume {folder}" in capsys.readouterr().out
    assert len(list((folder / SEARCH).iterdir())) == 2
    assert main(["sweep", "--resume", str(folder)]) == 0
    lines = without_seconds(result_lines(read(folder)))
    whole = tmp_path / "whole"
    assert main([*command[:-1], str(whole)]) == 0
    assert without_seconds(result_lines(read(folder_of(whole)))) == lines


def test_a_finished_sweep_trains_nothing_more(command: list[str], tmp_path: Path) -> None:
    assert main(command) == 0
    folder = folder_of(tmp_path)
    before = sorted(str(path) for path in folder.rglob("*"))
    assert main(["sweep", "--resume", str(folder)]) == 0
    assert sorted(str(path) for path in folder.rglob("*")) == before


@pytest.mark.parametrize("kept", [0, 1])
def test_a_sweep_that_ended_before_its_last_fresh_trials_has_no_result(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: int
) -> None:
    assert main(command) == 0
    folder = folder_of(tmp_path)
    for path in sorted((folder / AGAIN).iterdir())[kept:]:
        shutil.rmtree(path)
    capsys.readouterr()
    with pytest.raises(AirbenchError, match="not finished; airbench sweep --resume"):
        result_lines(read(folder))
    assert main(["sweep", "--resume", str(folder)]) == 0
    assert len(list((folder / AGAIN).iterdir())) == 2


def test_one_process_at_a_time_trains_a_sweep(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    folder = folder_of(tmp_path)
    with locked(folder / "recipe.yaml", "sweep"):
        assert main(["sweep", "--resume", str(folder)]) == 2
    assert f"{folder}: another process is training this sweep" in capsys.readouterr().err


def test_a_setting_without_a_trial_goes_on_with_other_packages(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert main(command) == 130
    folder = folder_of(tmp_path)
    (run,) = (folder / SEARCH).iterdir()
    facts = json.loads((run / "run.json").read_text())
    here = facts["environment"]["packages"]
    (run / "run.json").write_text(json.dumps({**facts, "environment": {**facts["environment"], "packages": {}}}))
    assert main(["sweep", "--resume", str(folder)]) == 0
    record = read_run(run)
    assert record.fact("environment", "packages") == here
    assert record.problems == ()
    assert "resumed" not in record.facts
    assert len(record.finished) == 2


def test_a_setting_without_a_trial_does_not_go_on_from_another_recipe(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert main(command) == 130
    recipe = folder_of(tmp_path) / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("label_smoothing: 0.2", "label_smoothing: 0.1"))
    assert main(["sweep", "--resume", str(folder_of(tmp_path))]) == 2
    assert "setting 1 was begun from another recipe.yaml than there is now" in capsys.readouterr().err


def test_a_setting_that_fails_is_the_worst(few_shapes: Dataset, tmp_path: Path) -> None:
    axes = ["--axis", "optimizers.head.lr=11.5,1e20", "--held-out", "100", "--again", "0"]
    words = [*TINY, "train.epochs=3"]
    assert main(["sweep", "airbench94", *words, *axes, "--out", str(tmp_path)]) == 0
    sweep = read(folder_of(tmp_path))
    assert accuracies(sweep.run_of(1)) == [0.0]
    assert best(sweep, 2) == [0, 1]
    assert any("train it again with fresh seeds" in line for line in result_lines(sweep))


def test_judging_on_the_test_images_is_recorded_and_said(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = ["--axis", "optimizers.head.lr=0.3,0.67", "--on-test", "--again", "0"]
    assert main(["sweep", "airbench94_muon", *WORDS, *axes, "--out", str(tmp_path)]) == 0
    assert "what was chosen so proves nothing on them" in capsys.readouterr().out
    folder = folder_of(tmp_path)
    assert json.loads((folder / "sweep.json").read_text())["on_test"] is True
    (first, _) = sorted((folder / SEARCH).iterdir())
    assert read_run(first).fact("data", "held_out") == 0


def test_a_tenth_of_the_images_is_held_out_unless_told_otherwise(few_shapes: Dataset, tmp_path: Path) -> None:
    axes = ["--axis", "optimizers.head.lr=0.3,0.67", "--again", "0"]
    assert main(["sweep", "airbench94_muon", *WORDS, *axes, "--out", str(tmp_path)]) == 0
    assert load_recipe(folder_of(tmp_path) / "recipe.yaml").recipe.data.held_out == 40


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "nothing varies; give an axis"),
        (["--axis", "optimizers.head.lrr=1,2"], "unknown key; did you mean 'lr'?"),
        (["--axis", "optimizers.head.lr=1,x"], "optimizers.head.lr"),
        (["--axis", "optimizers.head.lr=1,2", "--on-test", "--held-out", "10"], "give one of them"),
    ],
)
def test_mistakes_are_answered_before_anything_is_trained(
    words: list[str], why: str, few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "airbench94_muon", *WORDS, *words, "--out", str(tmp_path)]) == 2
    assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "not").mkdir()
    assert main(["sweep", "--resume", str(tmp_path / "not")]) == 2


def test_a_plan_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "airbench94_muon", "--axis", "train.epochs=4,8", "--plan", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == ["epochs=4", "epochs=8", "2 settings × 1 trial, then 2 × 3"]
    assert list(tmp_path.iterdir()) == []


def test_images_are_loaded_once_for_all_settings(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airbench.experiment import worker

    load, loaded = worker.load_dataset, []

    def counted(data: Data) -> Dataset:
        loaded.append(data)
        return load(data)

    monkeypatch.setattr(worker, "load_dataset", counted)
    assert main(command) == 0
    assert len(loaded) == 1


def test_a_setting_that_cannot_be_trained_is_the_worst_and_ends_nothing(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = ["--axis", "train.batch_size=50,5000", "--axis", "net.activation=gelu,silu", "--held-out", "100"]
    assert main(["sweep", "airbench94_muon", *WORDS, *axes, "--again", "0", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    sweep = read(folder_of(tmp_path))
    why = f"{sweep.path / 'sweep.json'}: train.batch_size = 5000: there are only 300 training images"
    assert f"cannot be trained: {why}" in printed
    assert sorted(sweep.refused()) == [2, 3]
    assert sorted(best(sweep, 4)[:2]) == [0, 1]
    assert main(["sweep", "--resume", str(sweep.path)]) == 0


def test_a_setting_that_does_not_fit_into_memory_is_the_worst_and_ends_nothing(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(setup: TrialSetup) -> list[str]:
        if setup.recipe.train.batch_size == 100:
            raise TrialError("out of memory: lower train.batch_size")
        return warm_up(setup)

    monkeypatch.setattr("airbench.experiment.worker.warm_up", exhausted)
    axes = ["--axis", "train.batch_size=100,50", "--held-out", "100", "--again", "0"]
    assert main(["sweep", "airbench94_muon", *WORDS, *axes, "--out", str(tmp_path)]) == 0
    sweep = read(folder_of(tmp_path))
    assert accuracies(sweep.run_of(0)) == [0.0]
    assert best(sweep, 2) == [1, 0]


def test_all_settings_may_fail(few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = ["--axis", "optimizers.head.lr=1e19,1e20", "--axis", "optimizers.biases.lr=1e19,1e20", "--held-out", "100"]
    assert main(["sweep", "airbench94_muon", *WORDS, *axes, "--again", "0", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out.count("FAILED: the loss is nan") == 4
    assert "best: " not in printed.out
    assert "no trial of any setting finished" in printed.err


def test_on_test_means_the_test_images_even_if_the_recipe_holds_some_out(few_shapes: Dataset, tmp_path: Path) -> None:
    axes = ["--axis", "optimizers.head.lr=0.3,0.67", "--on-test", "--again", "0", "data.held_out=100"]
    assert main(["sweep", "airbench94_muon", *WORDS, *axes, "--out", str(tmp_path)]) == 0
    assert load_recipe(folder_of(tmp_path) / "recipe.yaml").recipe.data.held_out is None


def test_a_run_that_was_never_begun_begins_anew(few_shapes: Dataset, tmp_path: Path) -> None:
    """A crash between the first files of a run folder leaves a recipe and no run.json."""
    axes = ["--axis", "optimizers.head.lr=0.3,0.67", "--again", "0", "--held-out", "100"]
    assert main(["sweep", "airbench94_muon", *WORDS, *axes, "--out", str(tmp_path)]) == 0
    folder = folder_of(tmp_path)
    _, second = sorted((folder / SEARCH).iterdir())
    for file in second.iterdir():
        if file.name != "recipe.yaml":
            file.unlink()
    assert main(["sweep", "--resume", str(folder)]) == 0
    assert accuracies(read(folder).run_of(1))
    (again,) = (path for path in (folder / SEARCH).iterdir() if "0001" in path.name and path != second)
    again.rename(second.with_name(f"{second.name}-2"))  # as if it had been begun in the same second
    assert accuracies(read(folder).run_of(1))


@pytest.mark.parametrize(
    "words",
    [
        ["--trials", "7"],
        ["--again", "0"],
        ["--seed", "0"],
        ["--plan"],
        ["--tpe", "3"],
        ["--held-out", "9"],
        ["--out", "x"],
    ],
)
def test_resuming_takes_everything_from_the_sweep(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--resume", "anywhere", *words]) == 2
    assert f"leave out {words[0]}" in capsys.readouterr().err


def test_a_sweep_goes_on_only_with_the_recipe_and_the_code_of_its_first_settings(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    sweep = read(folder_of(tmp_path))
    again = ["sweep", "--resume", str(sweep.path)]
    code = "airbench.sweep.trained.describe_source"
    with monkeypatch.context() as patch:
        patch.setattr(code, lambda: ({"sha256": "other"}, ""))
        assert main(again) == 0  # nothing is left to train
    run = sweep.run_of(0)
    assert run is not None
    shutil.rmtree(run.path)
    with monkeypatch.context() as patch:
        patch.setattr(code, lambda: ({"sha256": "other"}, ""))
        assert main(again) == 2
        assert "was trained by other code, or plugins, than there are now" in capsys.readouterr().err
    recipe = sweep.path / "recipe.yaml"
    written = recipe.read_text()
    recipe.write_text(written.replace("label_smoothing: 0.2", "label_smoothing: 0.1"))
    assert main(again) == 2
    assert "was trained from another recipe.yaml than there is now" in capsys.readouterr().err
    recipe.write_text(written)
    assert main(again) == 0
    assert read(sweep.path).run_of(0) is not None


def test_a_sweep_in_which_nothing_trained_has_no_best_setting(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = ["--axis", "train.batch_size=5000,6000", "--held-out", "100"]
    assert main(["sweep", "airbench94_muon", *WORDS, *axes, "--out", str(tmp_path)]) == 2
    assert "no trial of any setting finished, so there is no best one" in capsys.readouterr().err
    assert not (folder_of(tmp_path) / "best.yaml").exists()
    page = tmp_path / "report.html"
    assert main(["report", str(folder_of(tmp_path)), "--out", str(page)]) == 0
    assert "cannot be trained" in page.read_text()
