"""Results read and compared in Python are those of the command line."""

from pathlib import Path

import pytest

import airbench
from airbench.analysis.compare import compare_runs
from airbench.errors import AirbenchError
from airbench.runs import read_run
from tests.conftest import CONFIGS

RECORDS = CONFIGS.parent / "runs" / "records"
MUON, SGD = RECORDS / "20261122-062115-quickstart", RECORDS / "20261122-062115-quickstart_sgd"


def test_a_run_is_read_as_the_commands_read_it() -> None:
    run = airbench.load_run(str(MUON))
    assert airbench.load_run(run) is run
    assert run == read_run(MUON)
    assert [trial.seed for trial in run.finished] == [0, 1, 2]
    assert run.setting("optimizers", "filters", "name") == "muon"


def test_runs_are_found_newest_first(tmp_path: Path) -> None:
    found = airbench.load_runs(RECORDS)
    assert {MUON, SGD} <= {run.path for run in found}
    names = [run.path.name for run in found if run.path.parent == RECORDS]
    assert names == sorted(names, reverse=True)
    assert airbench.load_runs(tmp_path) == []
    with pytest.raises(AirbenchError, match="rnus: no such folder"):
        airbench.load_runs("rnus")


@pytest.mark.parametrize("paired", [False, True])
def test_a_comparison_is_that_of_the_command(paired: bool) -> None:
    found = airbench.compare(MUON, airbench.load_run(SGD), paired=paired)
    assert found == compare_runs([read_run(MUON), read_run(SGD)], by_seed=paired)
    assert "is more accurate than" in found[0].verdict


def test_what_makes_runs_hard_to_compare_is_warned_of() -> None:
    first, other = (RECORDS / name for name in ("20261122-065417-airbench94_muon", "20261125-161004-airbench94_muon"))
    with pytest.warns(UserWarning, match="the runs differ in hardware"):
        airbench.compare(first, other)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AirbenchError, match="list: give the path of a run folder"):
        airbench.compare([MUON, SGD])  # type: ignore[arg-type]
    with pytest.raises(AirbenchError, match="at least two runs"):
        airbench.compare(MUON)
    with pytest.raises(AirbenchError, match="gone: not a run folder"):
        airbench.compare(MUON, tmp_path / "gone")
