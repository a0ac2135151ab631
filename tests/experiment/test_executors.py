"""Where a job is trained makes no difference to what comes of it."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from airbench.cli import main
from airbench.data.cache import write_cache
from airbench.data.dataset import Dataset
from airbench.data.shapes import SHAPES_VERSION
from airbench.errors import AirbenchError
from airbench.experiment.environment import code_hashes
from airbench.experiment.executors import Executor, ProcessExecutor, SerialExecutor
from airbench.experiment.jobs import TrialExtra, TrialJob, TrialOutcome
from airbench.experiment.worker import Worker
from airbench.recipe import plugins
from airbench.recipe.plugins import load_plugin
from airbench.runs import read_run
from airbench.training.callback import Callback
from airbench.training.results import EpochRow, TrialResult
from tests.conftest import CONFIGS, TINY, tiny

MUON = str(CONFIGS / "records" / "airbench94_muon.yaml")


class Notes(Callback):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.rows: list[EpochRow] = []
        self.ends: list[TrialResult | str] = []

    def on_epoch(self, row: EpochRow) -> None:
        self.rows.append(row)

    def on_end(self, result: TrialResult) -> None:
        self.ends.append(result)

    def on_fail(self, reason: str) -> None:
        self.ends.append(reason)


@pytest.fixture
def cached_shapes(small_shapes: Dataset, own_cache: Path) -> None:
    """Put few images into the cache, where other processes find them, too."""
    write_cache(small_shapes, own_cache / f"shapes-v{SHAPES_VERSION}-0.npz")


def jobs() -> list[TrialJob]:
    muon, sgd = tiny("airbench94_muon.yaml", "train.epochs=1"), tiny("airbench94.yaml", "train.epochs=1")
    return [
        TrialJob(each.recipe, seed, seed, run, spectra=seed == 0)
        for seed in (0, 1)
        for run, each in enumerate((muon, sgd))
    ]


def trained(executor: Executor, notes: Notes) -> list[TrialOutcome | TrialExtra]:
    return list(executor.run(jobs(), lambda job: notes))


def bits(outcome: TrialOutcome) -> object:
    """What does not depend on how long it took."""
    assert outcome.result is not None
    rows = [replace(row, seconds=0) for row in outcome.result.epochs]
    return outcome.job, replace(outcome.result, seconds=0, wall_seconds=0, epochs=rows)


def test_a_process_a_trial_gives_the_same_bits_as_one_process_for_all(cached_shapes: None) -> None:
    notes, other_notes = Notes(), Notes()
    serial, isolated = trained(SerialExecutor(Worker()), notes), trained(ProcessExecutor(), other_notes)
    for one, other in zip(serial, isolated, strict=True):
        if isinstance(one, TrialOutcome):
            assert isinstance(other, TrialOutcome)
            assert bits(one) == bits(other)
            assert one.machine == other.machine
        else:
            assert one == other
    assert [row.train_loss for row in notes.rows] == [row.train_loss for row in other_notes.rows]
    assert len(notes.ends) == len(other_notes.ends) == 4


def test_each_trial_says_where_it_was_trained_and_spectra_come_after_it(cached_shapes: None) -> None:
    found = trained(SerialExecutor(Worker()), Notes())
    assert [type(each) for each in found] == [TrialOutcome, TrialExtra, *[TrialOutcome] * 3]
    assert found[0].machine["threads"] >= 1  # type: ignore[union-attr]
    assert found[1].value["groups.0.conv1.weight"]["after"]  # type: ignore[union-attr]


def test_a_failed_trial_is_an_outcome_and_the_others_go_on(cached_shapes: None) -> None:
    bad = tiny("airbench94_muon.yaml", "train.epochs=1", "optimizers.head.lr=1e20", "optimizers.filters.lr=1e20")
    good = tiny("airbench94_muon.yaml", "train.epochs=1")
    work = [TrialJob(bad.recipe, 0, 0, 0), TrialJob(good.recipe, 0, 0, 1)]
    for executor in (SerialExecutor(Worker()), ProcessExecutor()):
        notes = Notes()
        failed, finished = executor.run(work, lambda job, notes=notes: notes)
        assert isinstance(failed, TrialOutcome)
        assert failed.result is None
        assert "lower lr" in failed.reason
        assert failed.as_line()["status"] == "failed"
        assert isinstance(finished, TrialOutcome)
        assert finished.result is not None
        assert notes.ends[0] == failed.reason


def test_a_job_that_cannot_be_trained_says_why_in_one_line(cached_shapes: None) -> None:
    recipe = tiny("airbench94_muon.yaml", "train.batch_size=2000").recipe
    for executor in (SerialExecutor(Worker()), ProcessExecutor()):
        with pytest.raises(AirbenchError, match=r"mine.yaml: train.batch_size = 2000: there are only 400"):
            list(executor.run([TrialJob(recipe, 0, 0, path="mine.yaml")], lambda job: Callback()))


def test_a_process_that_dies_ends_the_run_and_names_its_trial(
    cached_shapes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airbench.experiment.executors.CHILD", ("-c", "import os; os._exit(7)"))
    with pytest.raises(AirbenchError, match=r"trial 0: its process ended with exit code 7"):
        list(ProcessExecutor().run(jobs(), lambda job: Callback()))


def test_jobs_can_be_pickled() -> None:
    for job in jobs():
        assert pickle.loads(pickle.dumps(job)) == job


def test_isolated_trials_of_the_command_line_write_the_same_run_folder(cached_shapes: None, tmp_path: Path) -> None:
    command = ["train", MUON, *TINY, "train.epochs=1", "--trials", "2"]
    assert main([*command, "--out", str(tmp_path / "one")]) == 0
    assert main([*command, "--isolate", "--out", str(tmp_path / "each")]) == 0
    one, each = (read_run(next((tmp_path / name).iterdir())) for name in ("one", "each"))
    assert [t.accuracy for t in one.finished] == [t.accuracy for t in each.finished]
    assert one.spectra == each.spectra
    assert one.recipe == each.recipe


def test_spectra_that_cannot_be_computed_do_not_end_the_run(
    few_shapes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(optimizers: object) -> None:
        raise RuntimeError("linalg.svd: the input is not finite")

    monkeypatch.setattr("airbench.experiment.worker.momentum_spectra", fails)
    recipe = tiny("airbench94_muon.yaml", "train.epochs=1").recipe
    jobs = [TrialJob(recipe, seed, seed, spectra=seed == 0) for seed in range(2)]
    outcomes = list(SerialExecutor(Worker()).run(jobs, lambda job: Callback()))
    assert [outcome.result is not None for outcome in outcomes if isinstance(outcome, TrialOutcome)] == [True, True]


@pytest.mark.parametrize(("kernel", "recorded"), [("auto", True), ("torch", False), ("triton", False)])
def test_a_trial_records_the_kernels_that_were_chosen_for_it(
    kernel: str, recorded: bool, few_shapes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another recipe of the same process may have had some chosen."""
    measured = {"X Xᵀ, 6x64x216, bfloat16": "torch"}
    monkeypatch.setattr("airbench.experiment.worker.choices", lambda: measured)
    recipe = tiny("airbench94_muon.yaml", "train.epochs=1", f"optimizers.filters.orthogonalize.kernel={kernel}").recipe
    assert recipe.optimizers["filters"].symmetric_kernel() == kernel
    assert recipe.optimizers["head"].symmetric_kernel() == "torch"
    (outcome,) = (f for f in Worker().train(TrialJob(recipe, 0, 0), Callback()) if isinstance(f, TrialOutcome))
    assert ("orthogonalize_kernels" in outcome.machine) == recorded


def test_an_isolated_trial_refuses_code_that_was_edited_meanwhile(
    cached_shapes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_loaded", {})
    plugin = tmp_path / "mine.py"
    plugin.write_text("x = 1\n")
    load_plugin(plugin)
    outcomes = ProcessExecutor().run(jobs()[:3:2], lambda job: Callback())  # two trials of one recipe
    assert isinstance(next(outcomes), TrialOutcome)
    plugin.write_text("x = 2\n")
    with pytest.raises(AirbenchError, match=r"mine\.py: not as it was before the first trial"):
        list(outcomes)
    monkeypatch.setattr("airbench.experiment.executors.code_hashes", lambda: dict.fromkeys(code_hashes(), "before"))
    with pytest.raises(AirbenchError, match=r"airbench, mine\.py: not as it was"):
        list(ProcessExecutor().run(jobs()[:1], lambda job: Callback()))
