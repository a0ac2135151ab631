"""Trials that run at the same time have a line each on a terminal, above one bar; piped, only rows."""

import io
import re

import pytest

from airbench.experiment.jobs import TrialJob
from airbench.experiment.live import LiveTerminal
from airbench.training.results import EpochRow, TrialResult, TrialSeeds
from tests.conftest import tiny

JOBS = [TrialJob(tiny("airbench94_muon.yaml", "train.epochs=4").recipe, seed, seed) for seed in range(3)]
ROW = EpochRow(epoch=2, train_loss=1.25, train_accuracy=0.5, accuracy=0.75, seconds=1.0)
RESULT = TrialResult(TrialSeeds(0, 0, 0), 0.8125, 0.75, 2.0, 2.5, 8, [ROW])


class Screen(io.StringIO):
    """A terminal that understands the two sequences that are used: n lines up, and delete what follows."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        shown, row = [""], 0
        for up, down, text in re.findall(r"\x1b\[(\d+)A|(\x1b\[J|\r)|([^\x1b\r]+)", self.getvalue()):
            if up:
                row -= int(up)
            elif down == "\x1b[J":
                shown[row:] = [""]
            elif text:
                first, *more = text.split("\n")
                shown[row] += first
                shown += more
                row += len(more)
        return shown


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("LINES", "30")


def test_many_experiments_have_a_line_a_trial_with_its_recipe() -> None:
    out = io.StringIO()
    terminal = LiveTerminal(["setting-0000", "setting-0001"], 3, brief=True, out=out, screen=io.StringIO())
    terminal.expect(JOBS)
    trial = terminal.watch(JOBS[0])
    trial.on_epoch(ROW)
    trial.on_end(RESULT)
    (line,) = out.getvalue().splitlines()
    assert line.startswith(f"  {JOBS[0].recipe.name} trial 0: {RESULT.accuracy:.2%}, plain ")


def test_a_line_a_worker_and_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    out, screen = io.StringIO(), Screen()
    terminal = LiveTerminal(["airbench94_muon"], 3, out=out, screen=screen)
    terminal.expect(JOBS)
    first, second = terminal.watch(JOBS[0]), terminal.watch(JOBS[1])
    first.on_epoch(ROW)
    one, two, bar = screen.lines
    assert one == "airbench94_muon  trial   0  epoch 2 of 4, loss 1.250, accuracy 75.00%"
    assert two == "airbench94_muon  trial   1  starting"
    assert bar.startswith("0 of 3 trials:  17%")
    assert "2/12.0" in bar.replace("2.0/", "2/")
    first.on_end(RESULT)
    terminal.watch(JOBS[2])
    assert [line[17:26] for line in screen.lines[:2]] == ["trial   2", "trial   1"]
    assert screen.lines[-1].startswith("1 of 3 trials:  33%")
    second.on_fail("no luck")
    assert screen.lines[1] == "waiting"
    terminal.close_bar()
    assert screen.lines == [""]
    header, final, failed = out.getvalue().splitlines()
    assert header.split()[:2] == ["recipe", "trial"]
    assert final.split() == ["airbench94_muon", "0", "final", "0.7500", "0.8125", "2.00"]
    assert failed == "airbench94_muon trial 1 FAILED: no luck"


def test_a_trial_that_is_tried_again_keeps_its_line() -> None:
    screen = Screen()
    terminal = LiveTerminal(["airbench94_muon"], 3, out=io.StringIO(), screen=screen)
    terminal.expect(JOBS)
    terminal.watch(JOBS[0]).on_epoch(ROW)
    terminal.watch(JOBS[0])
    assert len(screen.lines) == 2
    assert screen.lines[0].endswith("starting")
    assert screen.lines[1].startswith("0 of 3 trials:   0%")


def test_more_workers_than_lines_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "5")
    screen = Screen()
    terminal = LiveTerminal(["airbench94_muon"], 3, out=io.StringIO(), screen=screen)
    terminal.expect(JOBS)
    for job in JOBS:
        terminal.watch(job)
    assert len(screen.lines) == 3
    assert screen.lines[1] == "… and 2 more workers"


def test_rows_only_where_there_is_no_terminal() -> None:
    out, screen = io.StringIO(), io.StringIO()
    terminal = LiveTerminal(["airbench94_muon"], 3, out=out, screen=screen)
    terminal.expect(JOBS)
    view = terminal.watch(JOBS[0])
    view.on_step(1, 8)
    view.on_epoch(ROW)
    view.on_end(RESULT)
    terminal.tick()
    assert screen.getvalue() == ""
    assert [line.split()[2] for line in out.getvalue().splitlines()] == ["epoch", "2", "final"]
