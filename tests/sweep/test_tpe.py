"""Settings chosen by Optuna: good ones are found, bad trials are stopped, nothing is lost by an interruption."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.errors import RecipeError
from airbench.recipe import LoadedRecipe
from airbench.runs import read_run
from airbench.sweep.axes import Setting, parse_axis
from airbench.sweep.folder import SEARCH, Sweep, read
from airbench.sweep.results import result_lines
from airbench.sweep.tpe import _ask_for_another, distributions, importance, open_study, params_of, setting_of
from airbench.sweep.trained import accuracies
from tests.conftest import TINY

optuna = pytest.importorskip("optuna", reason="Optuna is not installed")

COMMAND = [
    "sweep", "airbench94_muon", *TINY, "train.epochs=2", "--axis", "optimizers.head.lr=1e-4..2:log", "--axis",
    "net.activation=gelu,silu", "--held-out", "100", "--again", "0", "--tpe",
]  # fmt: skip


def folder_of(tmp_path: Path) -> Path:
    (folder,) = tmp_path.iterdir()
    return folder


def test_a_search_from_end_to_end(few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Median pruning begins after five trials: with enough of them, one is below the median after its first epoch."""
    assert main([*COMMAND, "10", "--out", str(tmp_path)]) == 0
    sweep = read(folder_of(tmp_path))
    assert len({tuple(setting.values()) for setting in sweep.settings}) == 10
    assert all(1e-4 <= float(setting["optimizers.head.lr"]) <= 2 for setting in sweep.settings)
    study = open_study(sweep)
    assert [trial.user_attrs["setting"] for trial in study.trials] == list(range(10))
    for trial, number in zip(study.trials, range(10), strict=True):
        run = sweep.run_of(number)
        assert run is not None
        assert setting_of([parse_axis(a) for a in sweep.axes], trial.params) == sweep.settings[number]
        if trial.state == optuna.trial.TrialState.COMPLETE:
            assert [trial.value] == accuracies(run)
            assert list(trial.intermediate_values.values()) == [e["accuracy"] for e in run.finished[0].epochs]
        else:
            assert run.failed[0].reason.startswith("pruned after 1 epochs")
    pruned = [n for n, run in sweep.runs().items() if run.failed]
    assert pruned
    assert min(pruned) >= 5
    assert sum("pruned after 1 epochs" in line for line in result_lines(sweep)) == len(pruned)
    printed = capsys.readouterr().out
    assert "cost: finished trials: " in printed
    assert (sweep.path / "best.yaml").is_file()


def test_values_that_do_not_go_together_are_the_worst_and_end_nothing(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(recipe: LoadedRecipe, setting: Setting) -> None:
        if setting["net.activation"] == "silu":
            raise RecipeError("silu does not go with this")

    monkeypatch.setattr("airbench.sweep.tpe.check_setting", check)
    assert main([*COMMAND, "4", "--out", str(tmp_path)]) == 0
    sweep = read(folder_of(tmp_path))
    assert [setting["net.activation"] for setting in sweep.settings] == ["gelu"] * 4
    refused = [trial for trial in open_study(sweep).trials if "setting" not in trial.user_attrs]
    assert refused
    assert {trial.value for trial in refused} == {0.0}


def test_an_interrupted_search_goes_on(few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airbench.experiment import worker

    train, begun = worker.run_trial, []

    def interrupted(*arguments: object) -> object:
        begun.append(1)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return train(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(worker, "run_trial", interrupted)
        assert main([*COMMAND, "4", "--no-prune", "--out", str(tmp_path)]) == 130
    before = read(folder_of(tmp_path))
    assert len(before.settings) == 3
    assert main(["sweep", "--resume", str(before.path)]) == 0
    after = read(before.path)
    assert after.settings[:3] == before.settings
    assert len(after.settings) == 4
    assert len(list((after.path / SEARCH).iterdir())) == 4
    assert all(not read_run(path).missing for path in (after.path / SEARCH).iterdir())
    told = [t.user_attrs["setting"] for t in open_study(after).trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert sorted(told) == [0, 1, 2, 3]


def test_settings_and_optunas_parameters_are_the_same_thing() -> None:
    axes = [parse_axis(text) for text in ("a=1e-3..1:log", "b=16..64:int", "c=x,y", "d=0..1")]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        trial = study.ask(distributions(axes))
        setting = setting_of(axes, trial.params)
        again = params_of(axes, setting)
        assert setting_of(axes, again) == setting
        assert again["c"] == trial.params["c"]
        assert again["b"] == trial.params["b"]
        assert again["a"] == pytest.approx(trial.params["a"], rel=1e-3)
        assert all(d._contains(d.to_internal_repr(again[key])) for key, d in distributions(axes).items())


class Made(Sweep):
    """A sweep whose accuracy depends on the first axis alone."""

    def runs(self, part: str = SEARCH, numbers: object = None) -> dict[int, object]:  # type: ignore[override]
        from types import SimpleNamespace

        found = {}
        for n, setting in enumerate(self.settings):
            accuracy = 0.9 - 0.01 * math.log2(float(setting["lr"]) / 0.1) ** 2
            trial = SimpleNamespace(accuracy=accuracy, finished=True)
            found[n] = SimpleNamespace(trials=[trial], finished=[trial], failed=[])
        return found


def made() -> Iterator[dict[str, str]]:
    for n in range(20):
        yield {"lr": f"{0.02 * 1.2**n:.4g}", "net": "ab"[n % 2]}


def test_importance_is_that_of_the_axis_that_matters() -> None:
    sweep = Made(Path(), tuple(made()), 1, 0, 1, 0, False, axes=("lr=0.02..1:log", "net=a,b"))
    found = importance(sweep)
    assert found["lr"] > 0.8
    assert list(found) == ["lr", "net"]


def test_without_optuna_tpe_says_so_and_importance_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main([*COMMAND, "3", "--out", str(tmp_path)]) == 2
    assert "tpe needs Optuna: pip install optuna" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert importance(Made(Path(), tuple(made()), 1, 0, 1, 0, False, axes=("lr=0.02..1:log", "net=a,b"))) == {}


def test_the_same_setting_is_not_trained_twice(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*COMMAND[: COMMAND.index("--axis")], "--axis", "net.activation=gelu,silu", *COMMAND[-5:]]
    assert main([*words, "5", "--out", str(tmp_path)]) == 0
    sweep = read(folder_of(tmp_path))
    assert sorted(setting["net.activation"] for setting in sweep.settings) == ["gelu", "silu"]
    assert "Optuna finds no other setting that fits than these 2" in capsys.readouterr().out


def test_optuna_is_told_no_accuracy_that_nobody_saw(few_shapes: Dataset, tmp_path: Path) -> None:
    words = [*COMMAND[: COMMAND.index("--axis")], "--axis", "net.activation=gelu,silu", *COMMAND[-5:]]
    assert main([*words, "2", "--out", str(tmp_path)]) == 0
    sweep = read(folder_of(tmp_path))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize")
    axes = [parse_axis(text) for text in sweep.axes]
    pending = replace(sweep, path=tmp_path / "nothing trained")
    pending.path.mkdir()
    assert _ask_for_another(study, axes, pending, print) is None  # both settings are asked for already, and not trained
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.FAIL}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize")
    assert _ask_for_another(study, axes, sweep, print) is None
    assert {t.value for t in study.trials} == {run.finished[0].accuracy for run in sweep.runs().values()}


def test_half_a_line_of_optunas_record_is_dropped(few_shapes: Dataset, tmp_path: Path) -> None:
    assert main([*COMMAND, "2", "--out", str(tmp_path)]) == 0
    sweep = read(folder_of(tmp_path))
    record = sweep.path / "optuna.log"
    record.write_bytes(record.read_bytes()[:-12])
    assert main(["sweep", "--resume", str(sweep.path)]) == 0


def test_a_range_that_does_not_fit_is_answered_before_anything_is_written(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*COMMAND[: COMMAND.index("--axis")], "--axis", "train.label_smoothing=0.5..1.5", *COMMAND[-5:]]
    assert main([*words, "3", "--out", str(tmp_path)]) == 2
    assert "train.label_smoothing = 1.5" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
