"""What people see while it trains: a bar inside a trial, a row an epoch. Plain lines where there is no terminal."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

from airbench.training.trial import EpochRow, TrialResult

COLUMNS = ("trial", "epoch", "train_loss", "train_acc", "test_acc", "tta_acc", "seconds")
_WIDTHS = (5, 6, 10, 9, 8, 7, 8)


class Terminal:
    """Prints the lines of an experiment, and keeps them apart from the bar of the trial in progress."""

    def __init__(self, recipes: Sequence[str], trials: int, *, out: TextIO | None = None):
        self.out = out or sys.stdout
        self.width = max(len(name) for name in recipes)
        self.trials = trials
        self.bar: Any = None
        self.header_shown = False

    def say(self, text: str = "") -> None:
        """Print a line without disturbing the bar."""
        if self.bar is not None:
            self.bar.clear()
        try:
            print(text, file=self.out, flush=True)
        except OSError:  # nobody reads any more (`… | head`), or the log's disk is full: training goes on
            self.out = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
        if self.bar is not None:
            self.bar.refresh()

    def row(self, recipe: str, *cells: str) -> None:
        """Print a row of the table of epochs."""
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
        self.say(f"{recipe:<{self.width}}  " + "  ".join(padded))

    @contextmanager
    def trial(self, recipe: str, trial: int) -> Iterator["TrialView"]:
        """Show a trial, counted from 1."""
        if not self.header_shown:
            self.row("recipe", *COLUMNS)
            self.header_shown = True
        if sys.stderr.isatty():
            label = f"{recipe} trial {trial}/{self.trials}"
            self.bar = tqdm(desc=label, unit=" steps", leave=False, dynamic_ncols=True, smoothing=0.1)
        try:
            yield TrialView(self, recipe, trial)
        finally:
            if self.bar is not None:
                self.bar.close()
                self.bar = None


class TrialView:
    """The Watcher of one trial."""

    def __init__(self, terminal: Terminal, recipe: str, trial: int):
        self.terminal, self.recipe, self.number = terminal, recipe, trial
        self.listeners: list[Callable[[EpochRow], None]] = []

    def on_step(self, step: int, total: int) -> None:
        """Move the bar."""
        bar = self.terminal.bar
        if bar is not None:
            bar.total = total
            bar.update(step - bar.n)

    def on_epoch(self, row: EpochRow) -> None:
        """Print the row of an epoch, and pass it on."""
        cells = (f"{row.epoch:g}", f"{row.train_loss:.4f}", f"{row.train_accuracy:.4f}", f"{row.accuracy:.4f}")
        self.terminal.row(self.recipe, str(self.number), *cells, "", f"{row.seconds:.2f}")
        for listener in self.listeners:
            listener(row)

    def finished(self, result: TrialResult) -> None:
        """Print the last row."""
        cells = ("final", "", "", f"{result.plain_accuracy:.4f}", f"{result.accuracy:.4f}", f"{result.seconds:.2f}")
        self.terminal.row(self.recipe, str(self.number), *cells)

    def failed(self, reason: str) -> None:
        """Say why the trial was stopped."""
        self.terminal.say(f"{self.recipe} trial {self.number} FAILED: {reason}")
