"""Ctrl-C and its kin end the program, even where their exception is lost."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airbench import signals
from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.runs import read_run
from airbench.training.callback import Callback
from tests.conftest import CONFIGS, TINY

MUON = str(CONFIGS / "records" / "airbench94_muon.yaml")


@pytest.fixture(autouse=True)
def as_in_a_terminal() -> Iterator[None]:
    """Answer signals as Python does: a suite that runs in the background, or under nohup, ignores some."""
    usual = {
        signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL,
    }  # fmt: skip
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class InterruptedWhenFreed:
    """Something that a signal meets in its destructor, where Python drops exceptions."""

    def __init__(self, name: signal.Signals):
        self.name = name

    def __del__(self) -> None:
        signal.raise_signal(self.name)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_whose_exception_is_lost_counts_at_the_next_look(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with signals.answered():
        signals.raise_if_interrupted()
        InterruptedWhenFreed(number)
        with pytest.raises(signals.Interrupted) as caught:
            signals.raise_if_interrupted()
        assert caught.value.number == number
    signals.raise_if_interrupted()
    assert signal.getsignal(number) is before


def test_a_second_signal_is_ignored_for_a_while_and_then_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with signals.answered():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # what is finished is being put in order
        now[0] += signals.PATIENCE + 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_before_is_still_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)  # nohup does so with SIGHUP, a shell's background with SIGINT
    try:
        with signals.answered():
            signal.raise_signal(number)
            signals.raise_if_interrupted()
    finally:
        signal.signal(number, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_ends_although_ctrl_c_was_lost(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = []

    def lost(self: Callback, step: int, total: int) -> None:
        if not sent:
            sent.append(step)
            InterruptedWhenFreed(signal.SIGINT)

    monkeypatch.setattr(Callback, "on_step", lost)
    assert main(["train", MUON, *TINY, "--trials", "50", "--out", str(tmp_path)]) == 130
    (path,) = tmp_path.iterdir()
    assert not read_run(path).trials  # the first trial ended at its second epoch
    assert "interrupted (SIGINT)" in capsys.readouterr().err
